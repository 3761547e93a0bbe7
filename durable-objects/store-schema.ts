/**
 * Key of the schema version in an object's key-value storage. Storage without it is new, or was written before versions
 * were recorded.
 */
export const SCHEMA_VERSION_KEY = 'schema_version'

/** Makes one version of an object's schema from the version before. */
export type Migration = (sql: SqlStorage) => void

/**
 * Brings an object's storage to the newest version of its schema: runs the migrations that it lacks, in order, all or
 * none. `migrations[0]` makes version 1 and must also accept a store that has that version's tables without a number.
 * Synchronous: called in a constructor, it ends before the object's first request.
 * @throws when newer code has written the storage.
 */
export function migrateStorage(storage: DurableObjectStorage, migrations: readonly Migration[]): void {
  const version = storage.kv.get<number>(SCHEMA_VERSION_KEY) ?? 0
  const newest = migrations.length
  if (version > newest)
    throw new Error(
      `the storage has schema version ${version}, but this code knows ${newest} at most: deploy newer code`,
    )
  if (version === newest) return
  storage.transactionSync(() => {
    for (const migrate of migrations.slice(version)) migrate(storage.sql)
    storage.kv.put(SCHEMA_VERSION_KEY, newest)
  })
}
