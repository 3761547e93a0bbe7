/** The one function of Node that is used here: WebCrypto has no scrypt, and its PBKDF2 ends at 100,000 rounds in workerd. */
declare module 'node:crypto' {
  export function scrypt(
    password: string,
    salt: Uint8Array,
    length: number,
    options: { N: number; r: number; p: number; maxmem: number },
    done: (error: Error | null, key: Uint8Array) => void,
  ): void
}
