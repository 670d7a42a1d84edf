/**
 * A small HTTP server for those who watch a running command: a page, figures, events. It only answers:
 * nothing that is asked of it changes anything, and a client that does not read is cut. Its key is its own,
 * and allows to look, not to write.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Hono, type Context, type Next } from 'hono';
import { TransferError, reasonOf } from '../errors.ts';
import { formatHostPort } from '../host-port.ts';
import type { WatchAddress } from './watch-address.ts';
import { watchKey } from './watch-key.ts';

/** What a route answers: whole, or chunk by chunk, each made when the client has taken the one before. */
export interface WatchAnswer {
  /** The media type. */
  readonly type: string;
  readonly body: string | Uint8Array<ArrayBuffer> | AsyncIterable<string | Uint8Array>;
}

/** One resource. Everything of it is given to `startWatchServer` at the start. */
export interface WatchRoute {
  /** In the syntax of hono: `/metrics`, `/blocks/:index`. */
  readonly path: string;
  /** Without the key: only for what says nothing about any copy, as the files of the page. */
  readonly isPublic?: boolean;
  /** @returns undefined: there is nothing at this place. */
  readonly answer: (parameters: Readonly<Record<string, string>>) => WatchAnswer | undefined;
}

export interface WatchLimits {
  /** A browser opens up to six to one host. */
  readonly connectionsMax: number;
  /** Answers that never end, as of a page that is open. */
  readonly streamsMax: number;
  /** How long a client may take nothing of what is sent to it, or send no whole request. */
  readonly stallTimeoutMs: number;
}

export const WATCH_LIMITS: WatchLimits = { connectionsMax: 64, streamsMax: 16, stallTimeoutMs: 20_000 };

/** Disposing it ends all connections. */
export interface WatchServer extends AsyncDisposable {
  /** With the key, for a person to open. */
  readonly url: string;
  /** The same without it. */
  readonly origin: string;
  readonly key: string;
}

const HEADER_BYTES_MAX = 8 * 1024;
const KEEP_ALIVE_MS = 10_000;
/** For the end of an answer to leave, when the server is closed. */
const CLOSE_MS = 300;
const ANY_HOST: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
/** No script or style but our own files, none in the HTML, and no text that becomes HTML. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');
const HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

interface Env {
  readonly Bindings: { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse };
}

/** @throws TransferError `listen-failed`; `usage` of a file for the key. */
export async function startWatchServer(
  address: WatchAddress,
  routes: readonly WatchRoute[],
  limits: WatchLimits = WATCH_LIMITS,
): Promise<WatchServer> {
  const key = await watchKey(address.keyFile);
  const app = makeApp(routes, { key, host: address.host, limits });
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: limits.stallTimeoutMs,
    requestTimeout: limits.stallTimeoutMs,
    connectionsCheckingInterval: Math.min(1000, limits.stallTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
  });
  server.maxConnections = limits.connectionsMax;
  // Of the socket: it runs while something that was sent is not taken, and while nothing is asked.
  server.setTimeout(limits.stallTimeoutMs, (socket: Socket) => socket.destroy());
  const fetch = async (request: Request, env: unknown): Promise<Response> =>
    await app.fetch(request, env as Env['Bindings']);
  const listener = getRequestListener(fetch, {
    overrideGlobalObjects: false,
    errorHandler: () => new Response(null, { status: 400, headers: { connection: 'close' } }),
  });
  server.on('request', (incoming, outgoing) => {
    listener(incoming, outgoing).catch(() => outgoing.destroy());
  });
  const port = await listenOn(server, address);
  const origin = `http://${formatHostPort(ANY_HOST.has(address.host) ? 'localhost' : address.host, port)}`;
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    await closed;
    clearTimeout(timer);
  };
  // The command ends when its copy does, whether or not somebody is still looking.
  server.unref();
  return { url: `${origin}/#${key}`, origin, key, [Symbol.asyncDispose]: close };
}

async function listenOn(server: Server, { host, port }: WatchAddress): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `cannot serve the page on ${formatHostPort(host, port)}: ${reasonOf(cause)}`;
      reject(new TransferError('listen-failed', message, { cause, hint: 'use a free port: --web' }));
    });
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

interface AppOptions {
  readonly key: string;
  readonly host: string;
  readonly limits: WatchLimits;
}

function makeApp(routes: readonly WatchRoute[], { key, host, limits }: AppOptions): Hono<Env> {
  const app = new Hono<Env>();
  const streams = new Set<object>();
  app.onError(() => new Response(null, { status: 500 }));
  app.notFound(() => new Response(null, { status: 404 }));
  app.use(async (context, next) => {
    const refusal = refusalOf(context, host);
    if (refusal === undefined) await next();
    else context.res = refusal;
    for (const [name, value] of Object.entries(HEADERS)) context.res.headers.set(name, value);
    // Otherwise a body, of any length, would be read before the next request.
    if (refusal !== undefined) context.res.headers.set('connection', 'close');
  });
  for (const { path, isPublic = false, answer } of routes) {
    const check = async (context: Context<Env>, next: Next): Promise<Response | undefined> => {
      if (!isPublic && !isKey(context.req.header('authorization'), key))
        return new Response(null, { status: 401, headers: { 'www-authenticate': 'Bearer' } });
      await next();
      return undefined;
    };
    app.get(path, check, (context) => {
      const found = answer(context.req.param());
      if (found === undefined) return new Response(null, { status: 404 });
      const { type, body } = found;
      const headers = { 'content-type': type };
      if (typeof body === 'string' || body instanceof Uint8Array) return new Response(body, { headers });
      if (context.req.method === 'HEAD') return new Response(null, { headers });
      if (streams.size >= limits.streamsMax)
        return new Response(null, { status: 503, headers: { 'retry-after': '5' } });
      streams.add(context);
      context.env.outgoing.once('close', () => streams.delete(context));
      // It ends with the command: nothing else will be asked over its connection.
      return new Response(streamOf(body), { headers: { ...headers, connection: 'close' } });
    });
  }
  return app;
}

/**
 * A page elsewhere may make a browser ask here. It has no key; besides, a name that its owner lets lead to
 * this address (DNS rebinding) is refused, as is everything that says that it comes from another origin.
 */
function refusalOf({ req }: Context<Env>, host: string): Response | undefined {
  if (req.method !== 'GET' && req.method !== 'HEAD')
    return new Response(null, { status: 405, headers: { allow: 'GET, HEAD' } });
  const given = req.header('host') ?? '';
  const name = hostnameOf(given);
  // Addresses lead where they say. The port is not compared: ssh -L may have another one.
  if (name === undefined || (name !== 'localhost' && name !== host.toLowerCase() && isIP(name) === 0))
    return new Response(null, { status: 421 });
  const origin = req.header('origin');
  if (origin !== undefined && origin !== `http://${given}`) return new Response(null, { status: 403 });
  return undefined;
}

/** Without port and brackets; undefined if it is none. */
function hostnameOf(given: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/.exec(given.toLowerCase());
  return match?.[1] ?? match?.[2];
}

function isKey(authorization: string | undefined, key: string): boolean {
  const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (given === undefined) return false;
  // Digests have one length, which the comparison needs, and say nothing about the key's.
  return timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', key, 'buffer'));
}

/** A chunk is made when the one before has been taken; so a client that does not read holds one. */
function streamOf(chunks: AsyncIterable<string | Uint8Array>): ReadableStream<Uint8Array> {
  const left = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const next = await left.next();
        if (next.done === true) controller.close();
        else controller.enqueue(typeof next.value === 'string' ? encoder.encode(next.value) : next.value);
      },
      cancel: async () => {
        await left.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
