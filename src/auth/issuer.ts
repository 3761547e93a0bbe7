/** The tokens of a session. `refreshToken` gets the next access token for another `refreshSeconds`; `expiresIn` in seconds. */
export type Session = { accessToken: string; expiresIn: number; refreshToken: string; refreshSeconds: number }

/** Why an issuer refused a request. */
export type IssuerFailure =
  /** The email is unknown or not confirmed, or the password is wrong. One reason for all, or else accounts could be enumerated. */
  | 'invalid_credentials'
  /** The refresh token is invalid, expired or revoked. */
  | 'session_expired'
  /** The token of a mail is invalid, expired or already used. */
  | 'token_expired'
  /** The new password breaks a rule of the issuer. */
  | 'weak_password'
  | 'too_many_requests'
  | 'unavailable'

export type IssuerResult<T> = { ok: true; value: T } | { ok: false; reason: IssuerFailure }

export const succeeded: IssuerResult<null> = { ok: true, value: null }
export const failed = (reason: IssuerFailure): { ok: false; reason: IssuerFailure } => ({ ok: false, reason })

/** Manages accounts. Emails are in lower case. No result reveals whether an email has an account. */
export type Issuer = {
  /** Creates an account. An email that has one already changes nothing, with the same result. */
  signUp(person: { email: string; password: string; name: string }): Promise<IssuerResult<null>>
  /** Confirms an email with the token that was mailed to it. */
  confirm(token: string): Promise<IssuerResult<null>>
  signIn(credentials: { email: string; password: string }): Promise<IssuerResult<Session>>
  refresh(refreshToken: string): Promise<IssuerResult<Session>>
  /** Ends a session, which may have expired already. `accessToken` belongs to the same session; null if it is lost. */
  signOut(session: { accessToken: string | null; refreshToken: string }): Promise<IssuerResult<null>>
  /** Changes the password of a user who knows the current one. Ends all sessions and starts a new one. */
  changePassword(change: { email: string; current: string; next: string }): Promise<IssuerResult<Session>>
  /** Mails a link to set a new password, if the email has an account. */
  requestReset(email: string): Promise<IssuerResult<null>>
  /** Sets a password with a mailed token, which works once. Ends all sessions of the user, and returns who it is. */
  reset(change: { token: string; password: string }): Promise<IssuerResult<{ userId: string }>>
}
