/**
 * One kind of attack of people without a ticket, as fast as this process can, until it is killed. It tries to
 * keep up to a thousand connections, and comes back a second after each that was closed.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { connectKeyUpdater } from '../../test/support/key-updates.ts';

export const ATTACKER = '127.0.0.9';
const CONNECTIONS = 1000;
const RETURN_MS = 1000;
/** Loops that do not wait between two attempts. */
const EAGER = 32;

interface Place {
  readonly host: string;
  readonly port: number;
}

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {}).resume();
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
}

function tcp(place: Place): Socket {
  return connectTcp({ ...place, localAddress: ATTACKER });
}

/** @param onOpen writes what it likes; the connection is then left to the receiver. */
async function tls(place: Place, onOpen: (socket: Socket) => void): Promise<void> {
  const raw = tcp(place);
  const socket = connectTls({ socket: raw, rejectUnauthorized: false }, () => onOpen(socket));
  socket.on('error', () => {}).resume();
  await closed(raw);
  socket.destroy();
}

const HEAD = 'PUT /blocks/0 HTTP/1.1\r\nhost: x\r\n';
const BAD_TOKEN = `authorization: Bearer ddt1.${'A'.repeat(300)}.${'b'.repeat(150)}\r\n`;

async function sendKeyUpdates(place: Place): Promise<void> {
  const updater = await connectKeyUpdater({ ...place, localAddress: ATTACKER });
  while (!updater.raw.destroyed) {
    updater.send(updater.next(400));
    await delay(10);
  }
}

function sendEndlessly(socket: Socket): void {
  socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\n`);
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')]);
  const more = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', more);
  more();
}

interface Attack {
  readonly run: (place: Place) => Promise<void>;
  readonly count: number;
  readonly pauseMs: number;
}

const patient = { count: CONNECTIONS, pauseMs: RETURN_MS };
const eager = { count: EAGER, pauseMs: 0 };
export const ATTACKS: Readonly<Record<string, Attack>> = {
  'silent TCP': { ...patient, run: async (place) => await closed(tcp(place)) },
  'silent TLS': { ...patient, run: async (place) => await tls(place, () => {}) },
  'slow head': {
    ...patient,
    run: async (place) =>
      await tls(place, (socket) => {
        socket.write(HEAD);
        const timer = setInterval(() => socket.write('x'), 1000);
        socket.once('close', () => clearInterval(timer));
      }),
  },
  'key updates': { ...eager, run: sendKeyUpdates },
  handshakes: { ...eager, run: async (place) => await tls(place, (socket) => socket.destroy()) },
  'refused tokens': {
    ...eager,
    run: async (place) =>
      await tls(
        place,
        (socket) => void socket.write(`${HEAD}${BAD_TOKEN}content-length: 0\r\n\r\n`.repeat(50)),
      ),
  },
  'endless bodies': { ...patient, run: async (place) => await tls(place, sendEndlessly) },
};

async function attackForever({ run, pauseMs }: Attack, place: Place): Promise<never> {
  for (;;) {
    await run(place).catch(() => {});
    await delay(pauseMs);
  }
}

const [kind = '', host = '', port] = process.argv.slice(2);
const attack = import.meta.main ? ATTACKS[kind] : undefined;
if (attack !== undefined) {
  const place = { host, port: Number(port) };
  await Promise.all(Array.from({ length: attack.count }, async () => await attackForever(attack, place)));
}
