/** The functions of Node that Kerb uses: WebCrypto has no scrypt and does not read SEC1 keys. */
declare module 'node:crypto' {
  export function scrypt(
    password: string,
    salt: Uint8Array,
    length: number,
    options: { N: number; r: number; p: number; maxmem: number },
    done: (error: Error | null, key: Uint8Array) => void,
  ): void

  export function createPrivateKey(key: string | { key: Uint8Array; format: 'der'; type: 'pkcs8' }): {
    export(options: { format: 'jwk' }): import('jose').JWK
  }
}
