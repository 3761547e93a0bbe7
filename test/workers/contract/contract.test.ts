/**
 * Compares what clients receive with recorded copies in `test/fixtures/contract`: `/openapi.json`, the answers of every
 * route, pages, frames and events. To record again, run `npx vitest run --project workers test/workers/contract -u` and
 * read the diff.
 *
 * Wording is excluded by design: `detail`, `title`, `message` and `description` in the API, and the text of pages. So are
 * values that differ between runs: they become placeholders. Renamed error codes belong into `renamed-codes.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closeAll, get } from '../support/wire.ts'
import { answers, ROUTES } from './answers.ts'
import { marketFrames, portfolioFrames, streamEvents } from './frames.ts'
import { type Json, structureOf } from './openapi.ts'
import { accountPages, publicPages } from './pages.ts'
import { expectRecorded } from './recording.ts'
import { accountAnswers, healthAnswers, methodAnswers, portfolioAnswers, publicAnswers } from './rest.ts'
import { seed } from './world.ts'

beforeAll(seed)
afterAll(closeAll)

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
    ['public-pages', publicPages],
    ['account-pages', accountPages],
  ] as const
  const recorded: string[] = []

  test.each(groups)('of %s equal the recorded ones', async (name, ask) => {
    const group = answers()
    await ask(group)
    recorded.push(...Object.keys(group.observed))
    await expectRecorded(`answers-${name}`, group.observed)
  })

  test('to unsupported methods and preflight requests equal the recorded ones', async () => {
    await expectRecorded('methods', await methodAnswers())
  })

  test('are recorded for every route', () => {
    expect(ROUTES.filter((route) => !recorded.some((name) => name.startsWith(`${route}: `)))).toEqual([])
  })
})

test.each([
  ['markets', marketFrames],
  ['portfolio', portfolioFrames],
  ['events', streamEvents],
])('frames of %s equal the recorded ones', async (name, observe) => {
  await expectRecorded(`frames-${name}`, await observe())
})
