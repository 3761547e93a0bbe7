/**
 * Compares what clients can see with copies recorded before: `/openapi.json`, the answers of every route, pages, frames
 * and events. `npx vitest run --project workers test/workers/contract -u` records them again.
 *
 * Wording is left out by design: `detail`, `title`, `message` and `description` of the API, and the text of pages. Values
 * that differ from run to run stand as placeholders of their type.
 */
import { test } from 'vitest'
import { get } from '../wire.ts'
import { type Json, structureOf } from './openapi.ts'
import { expectRecorded } from './recording.ts'

test('/openapi.json has the recorded structure', async () => {
  const document = (await (await get('/openapi.json')).json()) as Record<string, Json>
  const whole = structureOf({ ...document, info: { ...(document.info as object), version: '<version>' } })
  const { paths, components, ...rest } = whole as Record<string, Record<string, Json>>
  const { schemas, ...others } = components as Record<string, Json>
  await expectRecorded('openapi', { document: rest, components: others, ...paths, ...(schemas as object) })
})
