/** What routes and middleware are given. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler } from 'hono';
import type { Clock } from '../../common/clock.ts';
import type { SigningKey } from '../../common/trust/ssh-signature.ts';
import type { Activity } from '../console/activity.ts';
import type { Log } from '../console/log.ts';
import type { Transfer } from '../transfer/transfer.ts';
import type { Authenticator } from './auth.ts';

export interface Bindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

export interface AppEnv {
  readonly Bindings: Bindings;
  readonly Variables: { readonly isWriter: boolean };
}
export type AppContext = Context<AppEnv>;
export type Middleware = MiddlewareHandler<AppEnv>;

export interface AppOptions {
  readonly transfer: Transfer;
  readonly authenticator: Authenticator;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly log: Log;
  readonly activity: Activity;
  /** True once the process is about to stop. */
  readonly isDraining: () => boolean;
  readonly onSealed: () => void;
  /** How long a body may stall. */
  readonly bodyProgressTimeoutMs: number;
  /** How long a client may take nothing of a long response. */
  readonly responseProgressTimeoutMs: number;
  /** How long a block may wait for memory before the client is asked to try again. */
  readonly memoryWaitMs: number;
}
