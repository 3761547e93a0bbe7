import { cp, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ComparisonResult } from './compare.ts'
import type { TestEnvironment } from './environment.ts'
import type { Plan } from './plan.ts'

const TABLES = ['live_candles', 'candle_gaps', 'candle_revisions'] as const

/**
 * Saves the state of a run that did not heal: the plan, the findings, the status, candles and trades of each product, the
 * tables of candles, and the Worker's folder with its log and the objects' SQLite. The file of a part that cannot be read
 * contains the error. Suspends the Worker.
 * @returns the folder
 */
export async function saveState(
  stage: TestEnvironment,
  plan: Plan,
  findings: ComparisonResult | null,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `kerb-faults-seed-${plan.seed}-`))
  const save = async (name: string, read: () => unknown) => {
    let value: unknown
    try {
      value = await read()
    } catch (error) {
      value = { error: String(error) }
    }
    await writeFile(join(folder, `${name}.json`), JSON.stringify(value, null, 1))
  }
  await save('plan', () => plan)
  await save('findings', () => findings)
  for (const { id } of plan.products) {
    await save(`${id}-status`, async () => (await stage.call(`${id}/status`)).json())
    await save(`${id}-candles`, async () => (await stage.call(`${id}/held?start=0`)).json())
    await save(`${id}-trades`, () => stage.exchange.sent(id, plan.start - 3_600_000, stage.exchange.now() + 1))
  }
  for (const table of TABLES) await save(table, () => stage.database.admin.unsafe(`SELECT * FROM ${table}`))
  try {
    // No file may change while it is copied.
    process.kill(stage.worker.pid, 'SIGSTOP')
  } catch {
    // The process has ended already.
  }
  await cp(stage.worker.folder, join(folder, 'worker'), { recursive: true })
  return folder
}
