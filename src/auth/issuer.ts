/** What a person holds after signing in. `refreshToken` gives the next access token, until `refreshSeconds` are over. */
export type Session = { accessToken: string; expiresIn: number; refreshToken: string; refreshSeconds: number }

/** Why an issuer did not do what it was asked. */
export type IssuerFailure =
  /**
   * The email is unknown, or not confirmed yet, or the password is not its own: which of these, nobody is told. Else who
   * signs up with an email and then in would learn whether it was free.
   */
  | 'invalid_credentials'
  /** The refresh token is over, was taken back, or never was one. */
  | 'session_expired'
  /** The token of a mail is over, was used, or never was one. */
  | 'token_expired'
  /** The issuer has a rule that the new password does not keep. */
  | 'weak_password'
  | 'too_many_requests'
  | 'unavailable'

export type IssuerResult<T> = { ok: true; value: T } | { ok: false; reason: IssuerFailure }

export const succeeded: IssuerResult<null> = { ok: true, value: null }
export const failed = (reason: IssuerFailure): { ok: false; reason: IssuerFailure } => ({ ok: false, reason })

/** Whoever keeps the accounts. Emails come in small letters; none of these tells whether an email is known. */
export type Issuer = {
  /** Makes an account; for an email that has one already nothing changes, and the outcome is the same. */
  signUp(person: { email: string; password: string; name: string }): Promise<IssuerResult<null>>
  /** Confirms an email by the token that was mailed to it. */
  confirm(token: string): Promise<IssuerResult<null>>
  signIn(credentials: { email: string; password: string }): Promise<IssuerResult<Session>>
  refresh(refreshToken: string): Promise<IssuerResult<Session>>
  /** Ends a session; one that is over already is fine. `accessToken` is of the same session, null when it is gone. */
  signOut(session: { accessToken: string | null; refreshToken: string }): Promise<IssuerResult<null>>
  /** Sets another password, for who knows the present one. All sessions end; a new one begins. */
  changePassword(change: { email: string; current: string; next: string }): Promise<IssuerResult<Session>>
  /** Has the way to a new password mailed, if there is an account with this email. */
  requestReset(email: string): Promise<IssuerResult<null>>
  /** Sets a password by the token that was mailed, which works once. All sessions end. Tells whose they were. */
  reset(change: { token: string; password: string }): Promise<IssuerResult<{ userId: string }>>
}
