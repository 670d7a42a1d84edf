/**
 * The resources of the receiver and the checks in front of them. A route parses the request, calls the
 * operation and replies. Checks are ordered from cheap to dear, and a body is read only once everything that
 * its head can decide has been checked.
 */
import type { IncomingMessage } from 'node:http';
import { Hono } from 'hono';
import { RegExpRouter } from 'hono/router/reg-exp-router';
import { TransferError } from '../../common/errors.ts';
import {
  HEADER_DURABLE_GENERATION,
  HEADER_EPOCH,
  HEADER_SENDER,
  HEADER_VERIFIED_COUNT,
} from '../../common/protocol/protocol.ts';
import { Semaphore } from '../../common/semaphore.ts';
import { getBlock, headBlock, putBlock } from './block-routes.ts';
import { jsonResponse, problemResponse } from './json-response.ts';
import { actorOf, type AppContext, type AppEnv, type AppOptions, type Middleware } from './route-context.ts';
import { postProbe, postProbeTarget } from './probe-routes.ts';
import { SenderLease } from './sender-lease.ts';
import {
  getBlocks,
  getReceipt,
  getTransfer,
  postComplete,
  postCopy,
  postFlush,
  postProve,
  postReopen,
  postVerify,
  postZero,
  putTransfer,
} from './transfer-routes.ts';

/**
 * A decimal without leading zeros; paths are matched undecoded ({@link rawPathOf}), so an index has one
 * spelling. In a group: another router than ours would anchor it as `^0|[1-9]…$`.
 */
const BLOCK = '/blocks/:index{(?:0|[1-9][0-9]{0,9})}';
/** All resources that need a token. */
const RESOURCES = [
  '/transfer',
  '/blocks',
  BLOCK,
  '/zero',
  '/copy',
  '/flush',
  '/verify',
  '/prove',
  '/probe',
  '/probe/target',
  '/complete',
  '/reopen',
  '/receipt',
];

/** The activity watches the transfer and its senders from here on, until it is disposed. */
export function makeApp(options: AppOptions): Hono<AppEnv> {
  const { activity, clock, transfer } = options;
  const lease = new SenderLease(clock, activity);
  activity.watch(
    () => transfer.progress(),
    () => lease.receivedBytes,
  );
  // The default router falls back to one that matches by other rules; this one throws instead.
  const app = new Hono<AppEnv>({ router: new RegExpRouter(), getPath: rawPathOf });
  app.onError((error, context) => failureResponse(context, error, options));
  app.notFound(() => problemResponse(new TransferError('not-found', 'no such path'), { isBare: true }));

  app.use(commonHeaders(options));
  app.get('/health', () => jsonResponse({ status: 'ok' }));
  app.on('ALL', RESOURCES, authenticate(options), refuseDraining(options), refuseFailed(options));
  app.on('ALL', RESOURCES, holdLease(lease), checkQuery);
  app.get('/transfer', (context) => getTransfer(context, options));
  app.put('/transfer', async (context) => await putTransfer(context, options));
  app.get('/blocks', (context) => getBlocks(context, options));
  app.get(BLOCK, onHead(headBlock, options), async (context) => await getBlock(context, options));
  app.put(BLOCK, async (context) => await putBlock(context, options));
  app.post('/zero', async (context) => await postZero(context, options));
  app.post('/copy', async (context) => await postCopy(context, options));
  app.post('/verify', (context) => postVerify(context, options));
  app.post('/prove', async (context) => await postProve(context, options));
  const probeTurns = new Semaphore(1);
  app.post('/probe', async (context) => await postProbe(context, options));
  app.post('/probe/target', async (context) => await postProbeTarget(context, options, probeTurns));
  app.post('/flush', async (context) => await postFlush(context, options));
  app.post('/complete', async (context) => await postComplete(context, options));
  app.post('/reopen', (context) => postReopen(context, options));
  app.get('/receipt', (context) => getReceipt(context, options));
  app.on('ALL', ['/health', ...RESOURCES], refuseMethod);
  return app;
}

/** Neither decoded nor normalised: what the client wrote, up to the query. */
function rawPathOf(_request: Request, { env }: { env?: AppEnv['Bindings'] } = {}): string {
  const target = env?.incoming.url ?? '';
  const end = target.indexOf('?');
  return end < 0 ? target : target.slice(0, end);
}

/**
 * On every response. Only who has shown a good token learns more than that something answers: the epoch, the
 * counters, the time.
 */
function commonHeaders({ transfer, activity, connections }: AppOptions): Middleware {
  return async (context, next) => {
    await next();
    activity.durable(transfer);
    const { headers } = context.res;
    const { incoming, outgoing } = context.env;
    headers.set('cache-control', 'no-store');
    // Otherwise the rest of the body, of any length, would be read before the next request.
    if (isBodyPending(incoming) || !connections.isKnown(incoming.socket)) headers.set('connection', 'close');
    outgoing.sendDate = context.get('tokenHash') !== undefined;
    if (!outgoing.sendDate) return;
    headers.set(HEADER_EPOCH, transfer.epoch);
    headers.set(HEADER_DURABLE_GENERATION, String(transfer.durableGeneration));
    headers.set(HEADER_VERIFIED_COUNT, String(transfer.verifiedCount));
  };
}

function isBodyPending({ complete, headers }: IncomingMessage): boolean {
  return (
    !complete && ((headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined)
  );
}

function authenticate({ authenticator, connections }: AppOptions): Middleware {
  return async (context, next) => {
    const { method } = context.req;
    const scope = method === 'GET' || method === 'HEAD' ? 'read' : 'write';
    const { isWriter, tokenHash, signer } = authenticator.check(context.req.header('authorization'), scope);
    connections.recognize(context.env.incoming.socket, isWriter);
    context.set('isWriter', isWriter);
    context.set('tokenHash', tokenHash);
    if (signer !== undefined) context.set('signer', signer);
    await next();
  };
}

function refuseDraining({ isDraining }: AppOptions): Middleware {
  return async (_context, next) => {
    if (isDraining()) throw new TransferError('draining', 'the receiver is stopping: try again soon');
    await next();
  };
}

/** Also what was being answered when it failed: nothing may be acknowledged without a journal. */
function refuseFailed({ failure }: AppOptions): Middleware {
  const refuse = (): void => {
    const error = failure();
    if (error !== undefined) throw error;
  };
  return async (_context, next) => {
    refuse();
    await next();
    refuse();
  };
}

/** One sender at a time; requests without a sender's name, as curl's, are let through. */
function holdLease(lease: SenderLease): Middleware {
  return async (context, next) => {
    const sender = context.req.header(HEADER_SENDER);
    // Who may only read cannot keep the sender waiting.
    if (sender !== undefined && context.get('isWriter')) lease.check(sender, context.env.incoming.socket);
    await next();
  };
}

/** Of a parameter that is given twice nobody knows which value is meant. */
const checkQuery: Middleware = async (context, next) => {
  for (const [name, values] of Object.entries(context.req.queries())) {
    if (values.length === 1) continue;
    throw new TransferError('bad-request', `${name.slice(0, 20)}= is given ${values.length} times`);
  }
  await next();
};

/** hono dispatches HEAD as GET and drops the body. A HEAD that must not do what GET does comes first. */
function onHead(
  handler: (context: AppContext, options: AppOptions) => Response,
  options: AppOptions,
): Middleware {
  return async (context, next) => {
    if (context.req.method === 'HEAD') return handler(context, options);
    return await next();
  };
}

const refuseMethod: Middleware = ({ req }) => {
  throw new TransferError('method-not-allowed', `method ${req.method.slice(0, 20)} is not allowed here`);
};

function failureResponse(context: AppContext, error: unknown, options: AppOptions): Response {
  if (!(error instanceof TransferError)) {
    options.log.bug(error);
    return problemResponse(new TransferError('internal', 'a bug of the receiver; its log has the details'));
  }
  const { method, path } = context.req;
  options.activity.refused({ method, path, ...actorOf(context) }, error, options.transfer);
  return problemResponse(error, { isBare: context.get('tokenHash') === undefined });
}
