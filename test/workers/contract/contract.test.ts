/**
 * Compares what clients can see with copies recorded before: `/openapi.json`, the answers of every route, pages, frames
 * and events. `npx vitest run --project workers test/workers/contract -u` records them again.
 *
 * Wording is left out by design: `detail`, `title`, `message` and `description` of the API, and the text of pages. Values
 * that differ from run to run stand as placeholders of their type.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { get } from '../wire.ts'
import { answers, ROUTES } from './answers.ts'
import { type Json, structureOf } from './openapi.ts'
import { expectRecorded } from './recording.ts'
import { accountAnswers, healthAnswers, methodAnswers, portfolioAnswers, publicAnswers } from './rest.ts'
import { seed } from './world.ts'

test('/openapi.json has the recorded structure', async () => {
  const document = (await (await get('/openapi.json')).json()) as Record<string, Json>
  const whole = structureOf({ ...document, info: { ...(document.info as object), version: '<version>' } })
  const { paths, components, ...rest } = whole as Record<string, Record<string, Json>>
  const { schemas, ...others } = components as Record<string, Json>
  await expectRecorded('openapi', { document: rest, components: others, ...paths, ...(schemas as object) })
})

describe('answers', () => {
  const groups = [
    ['public', publicAnswers],
    ['health', healthAnswers],
    ['account', accountAnswers],
    ['portfolio', portfolioAnswers],
  ] as const
  const recorded: string[] = []

  beforeAll(seed)

  test.each(groups)('of the group %s are as recorded', async (name, ask) => {
    const group = answers()
    await ask(group)
    recorded.push(...Object.keys(group.observed))
    await expectRecorded(`answers-${name}`, group.observed)
  })

  test('to other methods and preflights are as recorded', async () => {
    await expectRecorded('methods', await methodAnswers())
  })

  test('are recorded of every route', () => {
    expect(ROUTES.filter((route) => !recorded.some((name) => name.startsWith(`${route}: `)))).toEqual([])
  })
})
