/** What every route is given. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler } from 'hono';
import type { AreaReport } from '../../common/area-report.ts';
import type { Clock } from '../../common/clock.ts';
import type { SigningKey } from '../../common/trust/ssh-signature.ts';
import type { Authenticator } from './auth.ts';
import type { Log } from '../console/log.ts';
import type { SenderLease } from './sender-lease.ts';
import type { Transfer } from '../transfer/transfer.ts';

export interface Bindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

export interface AppEnv {
  readonly Bindings: Bindings;
}
export type AppContext = Context<AppEnv>;
export type Middleware = MiddlewareHandler<AppEnv>;

export interface AppOptions {
  readonly transfer: Transfer;
  readonly authenticator: Authenticator;
  readonly lease: SenderLease;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly log: Log;
  /** True once the process is about to stop. */
  readonly isDraining: () => boolean;
  readonly onSealed: () => void;
  /** How long a body may stand still. */
  readonly bodyProgressTimeoutMs: number;
  /** How long a block may wait for memory before the client is told to come again. */
  readonly memoryWaitMs: number;
}

/** What the routes are given besides. */
export interface RouteOptions extends AppOptions {
  /** Unreadable areas of the source, for the log. */
  readonly areaReport: AreaReport;
}
