// The driver of Postgres imports this when it first connects. If the object or request that did so is gone by then, no
// other's import of it ever resolves: here, before each file, nobody is.
import 'cloudflare:sockets'
