import { cp, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Verdict } from './compare.ts'
import type { Plan } from './plan.ts'
import type { Stage } from './stage.ts'

const TABLES = ['live_candles', 'candle_gaps', 'candle_revisions'] as const

/**
 * Writes everything that explains why a run never healed to a folder of its own: the plan, the findings, of each product
 * its status, its candles and all its trades, the tables of candles, and the Worker's folder with its log and the
 * objects' SQLite. What cannot be read says so in its file. The Worker is stopped by it.
 * @returns the folder
 */
export async function saveState(stage: Stage, plan: Plan, findings: Verdict | null): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `kerb-faults-seed-${plan.seed}-`))
  const save = async (name: string, read: () => unknown) => {
    let value: unknown
    try {
      value = await read()
    } catch (error) {
      value = { unreadable: String(error) }
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
