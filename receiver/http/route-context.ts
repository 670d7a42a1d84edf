/** What routes and middleware are given, and who asks. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler } from 'hono';
import type { Clock } from '../../common/clock.ts';
import type { TransferError } from '../../common/errors.ts';
import type { SigningKey } from '../../common/trust/ssh-signature.ts';
import type { Activity, Actor } from '../console/activity.ts';
import type { Log } from '../console/log.ts';
import type { Transfer } from '../transfer/transfer.ts';
import { tokenHashOf, type Authenticator } from './auth.ts';
import type { Connections } from './connections.ts';
import { peerAddress } from './sender-lease.ts';

export interface Bindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

export interface AppEnv {
  readonly Bindings: Bindings;
  readonly Variables: {
    readonly isWriter: boolean;
    /** Of the token of this request; undefined before it was found good. */
    readonly tokenHash?: string;
    /** Whose own key has signed it. */
    readonly signer?: string;
  };
}
export type AppContext = Context<AppEnv>;
export type Middleware = MiddlewareHandler<AppEnv>;

export interface AppOptions {
  readonly transfer: Transfer;
  readonly authenticator: Authenticator;
  readonly connections: Connections;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly log: Log;
  readonly activity: Activity;
  /** True once the process is about to stop. */
  readonly isDraining: () => boolean;
  /** Why this transfer refuses everything, while others of this process continue. */
  readonly failure: () => TransferError | undefined;
  readonly onSealed: () => void;
  /** How long a body may stall. */
  readonly bodyProgressTimeoutMs: number;
  /** How long a client may take nothing of a long response. */
  readonly responseProgressTimeoutMs: number;
  /** How long a block may wait for memory before the client is asked to try again. */
  readonly memoryWaitMs: number;
}

/** For the log: the address, and which token was shown, whether good or not. */
export function actorOf(context: AppContext): Actor {
  const tokenHash = context.get('tokenHash') ?? tokenHashOf(context.req.header('authorization'));
  const signer = context.get('signer');
  return {
    address: peerAddress(context.env.incoming.socket),
    ...(tokenHash === undefined ? {} : { tokenHash }),
    ...(signer === undefined ? {} : { signer }),
  };
}
