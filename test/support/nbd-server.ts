/** NBD servers: real ones, which tests kill and start again, and one that says what a test lets it say. */
import { readFile, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { Incoming } from '../../common/nbd/incoming.ts';
import { NbdExport } from '../../common/nbd/nbd-export.ts';
import { parseNbdUri } from '../../common/nbd/nbd-uri.ts';
import { until } from './processes.ts';
import { start, type Started } from './run.ts';

export async function openExport(uri: string): Promise<NbdExport> {
  return await NbdExport.open(parseNbdUri(uri));
}

/** A server on a Unix socket; disposing it kills it. */
export class NbdServer implements AsyncDisposable {
  readonly socket: string;
  readonly uri: string;
  readonly #command: readonly string[];
  #process: Started | undefined;

  private constructor(socket: string, command: readonly string[]) {
    this.socket = socket;
    this.uri = `nbd+unix:///?socket=${socket}`;
    this.#command = command;
  }

  /** @param words its filters, its plugin and their parameters. */
  static async nbdkit(socket: string, ...words: readonly string[]): Promise<NbdServer> {
    return await new NbdServer(socket, ['nbdkit', '-f', '-U', socket, ...words]).start();
  }

  static async qemu(socket: string, ...words: readonly string[]): Promise<NbdServer> {
    return await new NbdServer(socket, ['qemu-nbd', '--persistent', '-k', socket, ...words]).start();
  }

  async start(): Promise<this> {
    const [program = '', ...words] = this.#command;
    await rm(this.socket, { force: true });
    const process = await start(program, words);
    this.#process = process;
    const isReady = async (): Promise<boolean> => !process.isRunning || (await isListening(this.socket));
    await until('the NBD server to listen', isReady);
    if (!process.isRunning) throw new Error((await process.ended).stderr);
    return this;
  }

  get isRunning(): boolean {
    return this.#process?.isRunning === true;
  }

  /** Whatever it has not given to the kernel is gone. */
  async kill(): Promise<void> {
    this.#process?.killGroup('SIGKILL');
    await this.#process?.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
  }
}

/** Seen without a connection, after which some servers end: the socket is there a moment before. */
async function isListening(socket: string): Promise<boolean> {
  const lines = (await readFile('/proc/net/unix', 'utf8')).split('\n');
  // __SO_ACCEPTCON of the kernel.
  return lines.some((line) => line.endsWith(` ${socket}`) && line.split(/\s+/)[3] === '00010000');
}

export interface ScriptedServer extends AsyncDisposable {
  readonly uri: string;
  readonly connections: () => number;
}

/** Each connection gets its own run of the script. */
export async function scriptedServer(
  socket: string,
  script: (client: Socket, incoming: Incoming) => Promise<void>,
): Promise<ScriptedServer> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((client) => {
    count++;
    sockets.add(client);
    client.on('error', () => {});
    script(client, new Incoming(client)).catch(() => client.destroy());
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    uri: `nbd+unix:///?socket=${socket}`,
    connections: () => count,
    [Symbol.asyncDispose]: async () => {
      for (const client of sockets) client.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export const GREETING = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), Buffer.from([0, 3])]);

export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(0x3e889045565a9n);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
}

export function infoExport(sizeBytes: bigint, flags: number): Buffer {
  const info = Buffer.alloc(12);
  info.writeBigUInt64BE(sizeBytes, 2);
  info.writeUInt16BE(flags, 10);
  return info;
}

/** The next option of a client. */
export async function takeOption(incoming: Incoming): Promise<number> {
  const head = await incoming.take(16);
  await incoming.take(head.readUInt32BE(12));
  return head.readUInt32BE(8);
}

export interface TakenRequest {
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: bigint;
  readonly lengthBytes: number;
}

/** Answers options as a server does that has structured replies and block status. */
export async function shakeHands(client: Socket, incoming: Incoming, sizeBytes: number): Promise<void> {
  client.write(GREETING);
  await incoming.take(4);
  for (;;) {
    const option = await takeOption(incoming);
    if (option === 10) {
      const context = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('base:allocation')]);
      client.write(optionReply(option, 4, context));
    }
    if (option === 7) client.write(optionReply(option, 3, infoExport(BigInt(sizeBytes), 0b1000101)));
    client.write(optionReply(option, 1));
    if (option === 7) return;
  }
}

/** Without a payload. */
export async function takeRequest(incoming: Incoming): Promise<TakenRequest> {
  const head = await incoming.take(28);
  return {
    command: head.readUInt16BE(6),
    cookie: head.readBigUInt64BE(8),
    offset: head.readBigUInt64BE(16),
    lengthBytes: head.readUInt32BE(24),
  };
}

export function simpleReply(cookie: bigint, error = 0): Buffer {
  const reply = Buffer.alloc(16);
  reply.writeUInt32BE(0x67446698);
  reply.writeUInt32BE(error, 4);
  reply.writeBigUInt64BE(cookie, 8);
  return reply;
}

/** A part of a structured reply. */
export function chunk(cookie: bigint, type: number, data: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt32BE(0x668e33ef);
  head.writeUInt16BE(flags, 4);
  head.writeUInt16BE(type, 6);
  head.writeBigUInt64BE(cookie, 8);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
}

/** An offset before data, or before the length of a hole. */
export function at(offset: bigint, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(offset);
  return Buffer.concat([head, data]);
}

export function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
