/** Bearer tokens: the cheap checks first, the signature once, its verdict cached. */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { TransferError } from '../../common/errors.ts';
import { isValidAt, type AllowedSigner } from '../../common/trust/allowed-signers.ts';
import {
  checkToken,
  isAllowed,
  isTokenSignatureGood,
  parseToken,
  type ParsedToken,
  type Scope,
} from '../../common/trust/token.ts';
import type { Clock } from '../../common/clock.ts';

/** A transfer has one ticket, and a handful of tokens made by hand at most. */
const CACHED_TOKENS_MAX = 256;
/**
 * A signature takes some 10 ms of the event loop to check. Only tokens that name a trusted key, our pin and a
 * transfer get that far; more new ones than this in a second have to wait.
 */
const SIGNATURE_CHECKS_PER_SECOND = 10;
/** Enough to tell tokens apart; of no use to anybody who wants to make one. */
const TOKEN_HASH_DIGITS = 16;

export interface AuthOptions {
  readonly audience: string;
  readonly transferId: string;
  readonly trustedKeys: readonly Buffer[];
  /** Whose keys are trusted while they are valid. */
  readonly signers?: readonly AllowedSigner[];
  readonly clock: Clock;
  /** Shared with the other transfers of this process; default: its own. */
  readonly signatureChecks?: SignatureChecks;
  /** When the ticket of an earlier start was issued, in seconds since 1970 by the clock of that time. */
  readonly issuedAtSeconds?: number;
}

/** How many signatures are checked: all transfers of a process have one event loop. */
export class SignatureChecks {
  readonly #clock: Clock;
  #second = 0;
  #checksInSecond = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws TransferError `busy`. */
  spend(): void {
    const second = Math.floor(this.#clock.monotonicMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#checksInSecond = 0;
    }
    if (++this.#checksInSecond > SIGNATURE_CHECKS_PER_SECOND) {
      throw new TransferError('busy', 'too many new tokens at once');
    }
  }
}

interface CachedToken {
  readonly token: ParsedToken;
  readonly isSignatureGood: boolean;
}

export interface AcceptedToken {
  /** It allows to write, too. */
  readonly isWriter: boolean;
  /** Names it in the log. */
  readonly tokenHash: string;
  /** Whose key has signed it; undefined: the receiver's own. */
  readonly signer: string | undefined;
}

export class Authenticator {
  readonly #options: AuthOptions;
  /** By the SHA-256 of the token. */
  readonly #cache = new LRUCache<string, CachedToken>({ max: CACHED_TOKENS_MAX });
  /** The latest time that the clock has shown. */
  #latestSeconds: number;
  readonly #checks: SignatureChecks;

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#checks = options.signatureChecks ?? new SignatureChecks(options.clock);
    this.#latestSeconds = options.issuedAtSeconds ?? 0;
  }

  /**
   * @throws TransferError `token-missing`, `token-invalid`, `token-expired`, `scope`, `busy`.
   */
  check(authorization: string | undefined, scope: Scope): AcceptedToken {
    if (authorization === undefined)
      throw new TransferError('token-missing', 'Authorization: Bearer <token> is missing');
    const text = tokenIn(authorization);
    if (text === undefined) throw invalid();
    const key = hash('sha256', text, 'hex');
    const token = this.#cache.get(key)?.token ?? parseToken(text);
    if (token === undefined) throw invalid();
    // On every request: a cached token expires too.
    const refusal = this.#refusalOf(token, this.#options.transferId, scope);
    if (refusal === 'token-invalid') {
      // If only the transfer's id is wrong, the token is old or of another target. Its signature is checked
      // first: only the holder of such a token learns that much.
      const isOfOther = this.#refusalOf(token, token.payload.tid, scope) !== 'token-invalid';
      throw isOfOther && this.#isSigned(key, token) ? ofOtherTransfer() : invalid();
    }
    if (refusal === 'token-expired') {
      throw new TransferError('token-expired', 'the token has expired', {
        hint: 'restart ddt-receive on the same target: it prints a new ticket for the same transfer',
      });
    }
    if (refusal === 'scope') {
      throw new TransferError('scope', `the token does not allow '${scope}'`, {
        hint: 'use the ticket that ddt-receive printed, not the one of --read-ticket-file',
      });
    }
    if (!this.#isSigned(key, token)) throw invalid();
    return {
      isWriter: isAllowed(token.payload, 'write'),
      tokenHash: key.slice(0, TOKEN_HASH_DIGITS),
      signer: this.#signerOf(token)?.principals,
    };
  }

  #refusalOf(token: ParsedToken, transferId: string, scope: Scope): ReturnType<typeof checkToken> {
    const { audience } = this.#options;
    const signer = this.#signerOf(token);
    const trustedKeys = [...this.#options.trustedKeys, ...(signer === undefined ? [] : [signer.publicKey])];
    return checkToken(token, { audience, transferId, trustedKeys, nowSeconds: this.#nowFor(token), scope });
  }

  /** The first line of the file that has this key and is valid now: on every request, as a token expires. */
  #signerOf(token: ParsedToken): AllowedSigner | undefined {
    const { signers = [] } = this.#options;
    const nowSeconds = this.#nowFor(token);
    return signers.find(
      (signer) => signer.publicKey.equals(token.signature.publicKey) && isValidAt(signer, nowSeconds),
    );
  }

  /** @throws TransferError `busy`. */
  #isSigned(key: string, token: ParsedToken): boolean {
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached.isSignatureGood;
    this.#checks.spend();
    const isSignatureGood = isTokenSignatureGood(token);
    this.#cache.set(key, { token, isSignatureGood });
    return isSignatureGood;
  }

  /**
   * A clock that is set back during a transfer must not invalidate the token that was issued before. Expiry
   * is another matter.
   */
  #nowFor({ payload: { iat } }: ParsedToken): number {
    const now = Math.floor(this.#options.clock.wallMs() / 1000);
    this.#latestSeconds = Math.max(this.#latestSeconds, now);
    return iat <= this.#latestSeconds ? Math.max(now, iat) : now;
  }
}

function tokenIn(authorization: string): string | undefined {
  return /^Bearer +([^ ,]+)$/i.exec(authorization)?.[1];
}

/** The transfer that a token names, whether it is good or not: only {@link Authenticator} decides that. */
export function transferNamedBy(authorization: string | undefined): string | undefined {
  const text = authorization === undefined ? undefined : tokenIn(authorization);
  return text === undefined ? undefined : parseToken(text)?.payload.tid;
}

/** What names a token, good or not, in the log: the first digits of its SHA-256; undefined without one. */
export function tokenHashOf(authorization: string | undefined): string | undefined {
  const text = authorization === undefined ? undefined : tokenIn(authorization);
  return text === undefined ? undefined : hash('sha256', text, 'hex').slice(0, TOKEN_HASH_DIGITS);
}

function invalid(): TransferError {
  return new TransferError('token-invalid', 'the token is not valid here', {
    hint: 'use the ticket that the receiver printed for this target',
  });
}

function ofOtherTransfer(): TransferError {
  return new TransferError(
    'token-invalid',
    'the ticket is for an earlier transfer to this target, which was discarded, or for another target',
    { hint: 'use the ticket that ddt-receive printed last for this target' },
  );
}
