/**
 * HTTPS: TLS 1.3 from the first byte, HTTP/1.1, and a named limit on everything that a stranger could
 * exhaust.
 */
import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { formatHostPort } from '../../common/host-port.ts';
import { OWN_CIPHERS } from '../../common/trust/ciphers.ts';
import { TCP_KEEP_ALIVE_MS } from '../../common/protocol/protocol.ts';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';
import type { Connections } from './connections.ts';
import { RequestTurns } from './request-turns.ts';

export interface ServerLimits {
  /** A TLS handshake takes a round trip: nine seconds behind the full queue of a slow line. */
  readonly handshakeTimeoutMs: number;
  /** From the connection, or from the end of the last request, to the end of a request's head. */
  readonly headersTimeoutMs: number;
  /** How long an idle connection is kept: longer than a slow source takes to read a block. */
  readonly keepAliveTimeoutMs: number;
  /** From the end of an answer until the client must have taken it: 400 KiB over a line of 16 kbit/s. */
  readonly responseTimeoutMs: number;
  /** A token takes up to 2 KiB, the unreadable areas of a block up to 7 KiB; all else is small. */
  readonly headerBytesMax: number;
}

export const SERVER_LIMITS: ServerLimits = {
  handshakeTimeoutMs: 30_000,
  headersTimeoutMs: 30_000,
  keepAliveTimeoutMs: 75_000,
  responseTimeoutMs: 240_000,
  headerBytesMax: 16 * 1024,
};
/** Responses to malformed requests, by Node's error code; 400 for all others. */
const STATUS_OF_PARSE_ERROR: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
};
const QUIET_POLL_MS = 50;
/** How long a client has to read why its request was not understood. */
const ERROR_GRACE_MS = 1000;

export interface ServerOptions {
  readonly fetch: (
    request: Request,
    env: { incoming: IncomingMessage; outgoing: ServerResponse },
  ) => Promise<Response>;
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly host: string;
  readonly port: number;
  /** Who may connect; of this server alone. */
  readonly connections: Connections;
  readonly limits?: ServerLimits;
  /** Connections wait for it, before a byte of them is read. */
  readonly ready?: Promise<void>;
}

export interface RunningServer {
  readonly host: string;
  readonly port: number;
  /** Connections with a good token. */
  readonly knownCount: number;
  /** Resolves once nobody with a token has been connected for `quietMs`, after `timeoutMs` at the latest. */
  quiet(quietMs: number, timeoutMs: number): Promise<void>;
  /** Accepts no new connections, lets requests with a token finish for up to `graceMs`, cuts the rest. */
  close(graceMs: number): Promise<void>;
}

/** @throws TransferError `listen-failed`. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const limits = options.limits ?? SERVER_LIMITS;
  const server = createServer({
    cert: options.certificatePem,
    key: options.keyPem,
    minVersion: 'TLSv1.3',
    ciphers: OWN_CIPHERS,
    // A client that prefers ChaCha20 has no instructions for AES.
    secureOptions: constants.SSL_OP_PRIORITIZE_CHACHA,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: limits.handshakeTimeoutMs,
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: limits.headersTimeoutMs,
    // No limit on a request as a whole: a slow line may take hours. Bodies must make progress instead.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(5000, limits.headersTimeoutMs),
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    noDelay: true,
  });
  const { connections } = options;
  connections.guard(server, options.ready);
  // By default it replaces the global Request and Response.
  const listener = getRequestListener(async (request, env) => await options.fetch(request, env as never), {
    overrideGlobalObjects: false,
    // Host and path make no valid URL. Closing avoids reading a body of any length.
    // A client older than HTTP/1.1 would wait for that without the length.
    errorHandler: () =>
      new Response(null, { status: 400, headers: { connection: 'close', 'content-length': '0' } }),
  });
  const turns = new RequestTurns((incoming, outgoing) => {
    listener(incoming, outgoing).catch(() => outgoing.destroy());
  }, limits.responseTimeoutMs);
  const listen = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    connections.onRequest(incoming.socket, () => turns.take(incoming, outgoing));
  };
  server.on('request', listen);
  // Without this listener Node sends 100 Continue itself, before anything is checked.
  server.on('checkContinue', listen);
  server.on('checkExpectation', (_incoming, outgoing: ServerResponse) => {
    outgoing.writeHead(417, { connection: 'close' }).end();
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('clientError', (error, socket: Socket) => {
    const status = STATUS_OF_PARSE_ERROR[errnoOf(error) ?? ''] ?? '400 Bad Request';
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
    // It would keep its place until the client ends it too, which may be never.
    setTimeout(() => socket.destroy(), ERROR_GRACE_MS).unref();
  });
  const port = await listenOn(server, options.host, options.port);
  return {
    host: options.host,
    port,
    get knownCount() {
      return connections.knownCount;
    },
    quiet: async (quietMs, timeoutMs) => await waitUntilQuiet(connections, quietMs, timeoutMs),
    close: async (graceMs) => await closeServer(server, connections, graceMs),
  };
}

async function listenOn(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new TransferError(
          'listen-failed',
          `cannot listen on ${formatHostPort(host, port)}: ${reasonOf(cause)}`,
          { cause },
        ),
      );
    });
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

async function closeServer(server: Server, connections: Connections, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  connections.dropStrangers();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  // A connection becomes idle when its last request ends.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  await closed;
  clearTimeout(timer);
  clearInterval(sweep);
}

async function waitUntilQuiet(connections: Connections, quietMs: number, timeoutMs: number): Promise<void> {
  let quietForMs = 0;
  for (let waitedMs = 0; waitedMs < timeoutMs && quietForMs < quietMs; waitedMs += QUIET_POLL_MS) {
    await delay(QUIET_POLL_MS);
    quietForMs = connections.knownCount > 0 ? 0 : quietForMs + QUIET_POLL_MS;
  }
}
