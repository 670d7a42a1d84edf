/**
 * The routes: parse, call the operation, reply. The checks of a request are ordered from cheap to dear, and
 * nothing of a body is read before all that can be told from the head has been checked.
 */
import type { IncomingMessage } from 'node:http';
import { Hono } from 'hono';
import { AREAS_NAMED_MAX, AreaReport } from '../../common/area-report.ts';
import { countAreas, formatAreas } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import {
  HEADER_DURABLE_GENERATION,
  HEADER_EPOCH,
  HEADER_SENDER,
  HEADER_VERIFIED_COUNT,
} from '../../common/protocol/protocol.ts';
import type { AppContext, AppOptions, Bindings, RouteOptions } from './route-context.ts';
import { getBlock, headBlock, putBlock } from './block-routes.ts';
import { jsonResponse, problemResponse } from './json-response.ts';
import {
  getReceipt,
  getTransfer,
  listing,
  postComplete,
  postFlush,
  postReopen,
  postZero,
  putTransfer,
} from './transfer-routes.ts';

type Handler = (context: AppContext, options: RouteOptions) => Promise<Response> | Response;

/**
 * Path, as a regular expression over the raw path → method → handler. HEAD is answered by its own handler.
 */
const ROUTES: readonly (readonly [RegExp, Readonly<Record<string, Handler>>])[] = [
  [/^\/transfer$/, { GET: getTransfer, PUT: putTransfer }],
  [/^\/blocks$/, { GET: listing }],
  // 0, or a decimal without leading zeros; matched raw, so that no other spelling of a number gets through.
  [/^\/blocks\/(?:0|[1-9]\d{0,9})$/, { GET: getBlock, HEAD: headBlock, PUT: putBlock }],
  [/^\/zero$/, { POST: postZero }],
  [/^\/flush$/, { POST: postFlush }],
  [/^\/complete$/, { POST: postComplete }],
  [/^\/reopen$/, { POST: postReopen }],
  [/^\/receipt$/, { GET: getReceipt }],
];

export function makeApp(given: AppOptions): Hono<{ Bindings: Bindings }> {
  const { clock, log } = given;
  const areaReport = new AreaReport(clock, (areas) => {
    const where = formatAreas(areas, AREAS_NAMED_MAX);
    log.warning(`the source could not be read at ${where}: ${countAreas(areas)} are zeros instead`);
  });
  const options: RouteOptions = { ...given, areaReport };
  const app = new Hono<{ Bindings: Bindings }>();
  app.all('*', async (context) => {
    let response: Response;
    try {
      response = await answer(context, options);
    } catch (error) {
      response = failureResponse(context, error, options);
    }
    // Else what is left of the body would be swallowed, however long it is, before the next request is heard.
    if (isBodyPending(context.env.incoming)) response.headers.set('connection', 'close');
    response.headers.set('cache-control', 'no-store');
    response.headers.set(HEADER_EPOCH, options.transfer.epoch);
    response.headers.set(HEADER_DURABLE_GENERATION, String(options.transfer.durableGeneration));
    response.headers.set(HEADER_VERIFIED_COUNT, String(options.transfer.verifiedCount));
    return response;
  });
  return app;
}

async function answer(context: AppContext, options: RouteOptions): Promise<Response> {
  const path = rawPathOf(context);
  const method = context.req.method;
  if (path === '/health') {
    if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed(method);
    return jsonResponse({ status: 'ok', time: new Date(options.clock.wallMs()).toISOString() });
  }
  const route = ROUTES.find(([pattern]) => pattern.test(path));
  if (route === undefined) throw new TransferError('not-found', 'there is nothing at this path');
  options.authenticator.check(context.req.header('authorization'), 'write');
  if (options.isDraining()) throw new TransferError('draining', 'the receiver is stopping: try again soon');
  const sender = context.req.header(HEADER_SENDER);
  if (sender !== undefined) options.lease.check(sender, context.env.incoming.socket);
  const handler = route[1][method] ?? (method === 'HEAD' ? route[1]['GET'] : undefined);
  if (handler === undefined) throw methodNotAllowed(method);
  checkQuery(context);
  return await handler(context, options);
}

function methodNotAllowed(method: string): TransferError {
  return new TransferError('method-not-allowed', `${method.slice(0, 20)} is not possible here`);
}

/** @throws TransferError `bad-request` where it is not clear which of two values is meant. */
function checkQuery(context: AppContext): void {
  for (const [name, values] of Object.entries(context.req.queries())) {
    if (values.length === 1) continue;
    throw new TransferError('bad-request', `${name.slice(0, 20)}= is given ${values.length} times`);
  }
}

/** Neither decoded nor normalised: what the client wrote, up to the query. */
function rawPathOf(context: AppContext): string {
  const target = context.env.incoming.url ?? '';
  const end = target.indexOf('?');
  return end < 0 ? target : target.slice(0, end);
}

function failureResponse(context: AppContext, error: unknown, options: AppOptions): Response {
  const { incoming } = context.env;
  if (error instanceof TransferError) {
    // The end of an epoch has been told once, for all the requests that it fails.
    const isTold = error.code === 'io-error' && incoming.method !== 'GET';
    if ((error.kind === 'device' && !isTold) || error.status === 401) {
      options.log.warning(`${incoming.method} ${rawPathOf(context).slice(0, 60)}: ${error.message}`);
    }
    return problemResponse(error);
  }
  options.log.bug(error);
  return problemResponse(new TransferError('internal', 'a bug of the receiver; its log has the details'));
}

function isBodyPending({ complete, headers }: IncomingMessage): boolean {
  return (
    !complete && ((headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined)
  );
}
