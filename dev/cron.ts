/** True if a cron expression of five fields, each a number or `*`, fires in the minute of `time` (UTC). */
function matchesCron(cron: string, time: Date): boolean {
  const now = [time.getUTCMinutes(), time.getUTCHours(), time.getUTCDate(), time.getUTCMonth() + 1, time.getUTCDay()]
  return cron.split(' ').every((field, i) => field === '*' || Number(field) === now[i])
}

/**
 * Fires the Worker's cron triggers as Cloudflare would, which `wrangler dev` does not: those of every minute at once,
 * then each at its minute. A failure is logged, and the next run comes all the same. Returns a function that ends it.
 */
export function startCron(url: string, crons: readonly string[], tell: (line: string) => void): () => void {
  const fire = async (cron: string) => {
    try {
      const response = await fetch(`${url}/cdn-cgi/local/scheduled?cron=${encodeURIComponent(cron)}`)
      if (!response.ok) tell(`cron "${cron}": ${response.status} ${(await response.text()).slice(0, 200)}`)
    } catch (error) {
      tell(`cron "${cron}": ${(error as Error).message}`)
    }
  }
  let timer: NodeJS.Timeout
  const wait = () => {
    timer = setTimeout(
      () => {
        const now = new Date()
        for (const cron of crons) if (matchesCron(cron, now)) void fire(cron)
        wait()
      },
      60_000 - (Date.now() % 60_000) + 50,
    )
  }
  for (const cron of crons) if (cron === '* * * * *') void fire(cron)
  wait()
  return () => clearTimeout(timer)
}
