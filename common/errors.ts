/**
 * Every failure that the world can cause has a code. The code alone decides what happens: its kind determines
 * who acts and the exit status, its status is that of the HTTP response. Nothing matches on message text.
 */

export type ErrorKind = 'usage' | 'refused' | 'transient' | 'corrupt' | 'device' | 'interrupted';

/** Kind and HTTP status of each code. Codes are stable once released. */
export const ERROR_CODES = {
  usage: { kind: 'usage', status: 400 },
  interrupted: { kind: 'interrupted', status: 503 },

  // trust
  'token-missing': { kind: 'refused', status: 401 },
  'token-invalid': { kind: 'refused', status: 401 },
  'token-expired': { kind: 'refused', status: 401 },
  scope: { kind: 'refused', status: 403 },
  'pin-mismatch': { kind: 'refused', status: 403 },
  'proof-failed': { kind: 'corrupt', status: 409 },
  'receipt-invalid': { kind: 'refused', status: 403 },
  'unsafe-environment': { kind: 'refused', status: 403 },
  'login-refused': { kind: 'refused', status: 403 },
  'machine-unsuitable': { kind: 'refused', status: 409 },

  // requests for what does not exist or does not fit
  'not-found': { kind: 'refused', status: 404 },
  'method-not-allowed': { kind: 'refused', status: 405 },
  'block-absent': { kind: 'refused', status: 404 },
  'block-out-of-range': { kind: 'refused', status: 404 },
  'bad-request': { kind: 'refused', status: 400 },
  'digest-required': { kind: 'refused', status: 400 },
  'digest-unsupported': { kind: 'refused', status: 400 },
  'digest-conflict': { kind: 'refused', status: 400 },
  'digest-mismatch': { kind: 'corrupt', status: 400 },
  'not-claimed': { kind: 'refused', status: 409 },
  'transfer-mismatch': { kind: 'refused', status: 409 },
  sealed: { kind: 'refused', status: 409 },
  incomplete: { kind: 'corrupt', status: 409 },
  'target-differs': { kind: 'corrupt', status: 409 },
  'size-unknown': { kind: 'refused', status: 409 },
  'root-mismatch': { kind: 'corrupt', status: 409 },
  precondition: { kind: 'refused', status: 412 },
  'too-large': { kind: 'refused', status: 413 },
  'too-many-areas': { kind: 'refused', status: 413 },
  'unsupported-encoding': { kind: 'refused', status: 415 },
  'length-mismatch': { kind: 'corrupt', status: 422 },
  'decode-failed': { kind: 'corrupt', status: 422 },

  // waiting helps
  'too-slow': { kind: 'transient', status: 408 },
  'in-use': { kind: 'transient', status: 409 },
  busy: { kind: 'transient', status: 503 },
  draining: { kind: 'transient', status: 503 },
  'no-space': { kind: 'transient', status: 507 },
  'connection-failed': { kind: 'transient', status: 503 },
  'no-progress': { kind: 'transient', status: 503 },
  'bad-answer': { kind: 'transient', status: 502 },

  // devices
  'io-error': { kind: 'device', status: 500 },
  'verify-failed': { kind: 'device', status: 409 },
  'foreign-writes': { kind: 'device', status: 409 },
  'source-read': { kind: 'device', status: 500 },
  'source-changed': { kind: 'corrupt', status: 409 },
  'source-size': { kind: 'device', status: 409 },
  'source-spent': { kind: 'transient', status: 409 },
  'journal-error': { kind: 'device', status: 500 },

  // refusals before anything is written
  'target-too-small': { kind: 'refused', status: 507 },
  'target-refused': { kind: 'refused', status: 409 },
  'source-refused': { kind: 'refused', status: 409 },
  'journal-in-use': { kind: 'refused', status: 409 },
  'state-refused': { kind: 'refused', status: 409 },
  'listen-failed': { kind: 'refused', status: 500 },
  internal: { kind: 'device', status: 500 },
} as const satisfies Record<string, { kind: ErrorKind; status: number }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Exit statuses of all commands; docs/reference/statuses.md lists them for users. */
export const EXIT_STATUS = {
  verified: 0,
  bug: 1,
  usage: 2,
  /** Finished, but with unreadable areas, or not read back. */
  unproven: 3,
  refused: 4,
  device: 5,
  gaveUp: 6,
  /** Of ddt-fleet: at least one job. */
  someFailed: 7,
  /** Of a pipe; a disk's copy survives its terminal. */
  sighup: 129,
  sigint: 130,
  sigterm: 143,
} as const;

export interface TransferErrorOptions extends ErrorOptions {
  /** The next command to type. */
  hint?: string;
  /** Machine-readable members of the problem document (RFC 9457 section 3.2). */
  details?: Readonly<Record<string, unknown>>;
  /** Of `Retry-After`, in seconds. */
  retryAfterSeconds?: number;
}

/**
 * A failure caused by the world, wrapped once at the system call or the wire.
 * Message: action, object, numbers, colon, reason; lower case, one sentence, never a secret.
 */
export class TransferError extends Error {
  static {
    this.prototype.name = 'TransferError';
  }
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: TransferErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get kind(): ErrorKind {
    return ERROR_CODES[this.code].kind;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
}

/** The exit status for a failure of this kind. */
export function exitStatusOf(kind: ErrorKind): number {
  switch (kind) {
    case 'usage':
      return EXIT_STATUS.usage;
    case 'refused':
      return EXIT_STATUS.refused;
    case 'corrupt':
    case 'device':
      return EXIT_STATUS.device;
    case 'transient':
      return EXIT_STATUS.gaveUp;
    case 'interrupted':
      return EXIT_STATUS.sigint;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'the address is already in use',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EAI_AGAIN: 'the host name cannot be looked up now',
  EBUSY: 'the device is in use',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  EFBIG: 'the file would become too large',
  EHOSTUNREACH: 'no route to the host',
  EINVAL: 'invalid argument',
  EIO: 'input/output error',
  EISDIR: 'it is a directory',
  EMFILE: 'too many open files',
  ENETUNREACH: 'the network is unreachable',
  ENODEV: 'no such device',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'a part of the path is not a directory',
  ENOTFOUND: 'the host name is unknown',
  ENXIO: 'the device is gone',
  EPERM: 'operation not permitted',
  EPIPE: 'the connection was closed',
  EROFS: 'the file system is read-only',
  ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 'the data was damaged on the line',
  ERR_SSL_WRONG_VERSION_NUMBER: 'something answers there that is not TLS',
  ETIMEDOUT: 'timed out',
  UND_ERR_CONNECT_TIMEOUT: 'timed out',
  UND_ERR_SOCKET: 'the connection was closed',
};

/** The system's error code (`EIO`) of an error or of one of its causes. */
export function errnoOf(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if ('code' in at && typeof at.code === 'string' && !(at instanceof TransferError)) return at.code;
  }
  return undefined;
}

/** The reason in plain words, for the end of a message. */
export function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  if (errno !== undefined) return REASONS[errno] ?? errno;
  return error instanceof Error ? error.message : String(error);
}
