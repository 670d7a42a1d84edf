/** Who may: bearer tokens, checked cheapest first, the signature once, the verdict cached. */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { TransferError } from '../../common/errors.ts';
import { checkToken, isTokenSignatureGood, parseToken, type ParsedToken } from '../../common/trust/token.ts';
import type { Clock } from '../../common/clock.ts';

/** A transfer has one ticket, a handful of hand-made tokens at most. */
const CACHED_TOKENS_MAX = 256;
/**
 * A signature check takes some 10 ms of the event loop; only tokens that name our key, pin and transfer get
 * that far. More than this many new ones a second are put off.
 */
const SIGNATURE_CHECKS_PER_SECOND = 10;

export interface AuthOptions {
  readonly audience: string;
  readonly transferId: string;
  readonly trustedKeys: readonly Buffer[];
  readonly clock: Clock;
  /** When the ticket of an earlier start was issued: since 1970, as the clock was then. */
  readonly issuedAtSeconds?: number;
}

export class Authenticator {
  readonly #options: AuthOptions;
  /** SHA-256 of the token → the token, with whether its signature is good. */
  readonly #cache = new LRUCache<string, { token: ParsedToken; isGood: boolean }>({ max: CACHED_TOKENS_MAX });
  /** The latest time that the clock has shown. */
  #latestSeconds: number;
  #second = 0;
  #checksInSecond = 0;

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#latestSeconds = options.issuedAtSeconds ?? 0;
  }

  /** @throws TransferError `token-missing`, `token-invalid`, `token-expired`, `scope`, `busy`. */
  check(authorization: string | undefined, scope: 'write'): void {
    if (authorization === undefined)
      throw new TransferError('token-missing', 'Authorization: Bearer <token> is missing');
    const text = /^Bearer +([^ ,]+)$/i.exec(authorization)?.[1];
    if (text === undefined) throw invalid();
    const key = hash('sha256', text, 'base64');
    const cached = this.#cache.get(key);
    const token = cached?.token ?? parseToken(text);
    if (token === undefined) throw invalid();
    // Looked at on every hit: a cached token expires too.
    const refusal = checkToken(token, {
      audience: this.#options.audience,
      transferId: this.#options.transferId,
      trustedKeys: this.#options.trustedKeys,
      nowSeconds: this.#nowFor(token),
      scope,
    });
    if (refusal === 'token-invalid') throw invalid();
    if (refusal === 'token-expired') {
      throw new TransferError('token-expired', 'the token has expired', {
        hint: 'restart ddt-receive on the same target: it prints a new ticket for the same transfer',
      });
    }
    if (refusal === 'scope') throw new TransferError('scope', `the token does not allow '${scope}'`);
    let isGood = cached?.isGood;
    if (isGood === undefined) {
      this.#spendCheck();
      isGood = isTokenSignatureGood(token);
      this.#cache.set(key, { token, isGood });
    }
    if (!isGood) throw invalid();
  }

  /**
   * A clock that is set back in the middle of a transfer must not refuse the token that was issued before
   * that. Expiry is another matter.
   */
  #nowFor({ payload: { iat } }: ParsedToken): number {
    const now = Math.floor(this.#options.clock.wallMs() / 1000);
    this.#latestSeconds = Math.max(this.#latestSeconds, now);
    return iat <= this.#latestSeconds ? Math.max(now, iat) : now;
  }

  #spendCheck(): void {
    const second = Math.floor(this.#options.clock.monotonicMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#checksInSecond = 0;
    }
    if (++this.#checksInSecond > SIGNATURE_CHECKS_PER_SECOND) {
      throw new TransferError('busy', 'too many new tokens at once');
    }
  }
}

function invalid(): TransferError {
  return new TransferError('token-invalid', 'the token is not valid here', {
    hint: 'use the ticket that ddt-receive printed for this target',
  });
}
