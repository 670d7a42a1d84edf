/**
 * The promise of dd-transfer, shown in ten seconds and without root: a disk image is sent, the sender is
 * killed half way, the same command resumes, and cmp and sha256sum compare. Uses nothing but what `npm ci`
 * brings and Debian's essential packages; .ci/run runs it with no other program on the PATH.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bounded,
  doneOf,
  OWN_HOST,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
  type Done,
  type Receiver,
} from '../test/support/processes.ts';
import { Relay } from '../test/support/relay.ts';
import type { Ended } from '../test/support/run.ts';
import { formatSize } from '../common/units.ts';
import { makeDemoDisk } from './image/demo-disk.ts';
import { endedWith, Failure, runScript, runTool, TEMPORARY } from './run-script.ts';

const IMAGE_BYTES = 192 * 2 ** 20;
/** Small, so that half way comes soon. */
const BLOCK_SIZE = '256KiB';
/** At the speed of loopback there would be no time to kill the sender. */
const LINE_BYTES_PER_SECOND = 40e6;
const TIMEOUT_MS = 60_000;

/** How far the first run came. */
interface Kill {
  readonly blocksDurable: number;
  readonly blocksTotal: number;
  readonly seconds: number;
}

function tell(step: string, text: string): void {
  process.stdout.write(`${step.padEnd(10)}${text}\n`);
}

function secondsSince(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}

/**
 * The line stands still at half of the data, so that the target can be flushed, however slow it is; then the
 * sender is killed. @throws Failure when it ends first.
 */
async function sendAndKill(
  parameters: readonly string[],
  { receiver, line }: { receiver: Receiver; line: Relay },
  signal: AbortSignal,
): Promise<Kill> {
  await using sender = await startSender(parameters);
  const startMs = performance.now();
  let blocksDurable = 0;
  let blocksTotal = 0;
  const isHalfWay = async (): Promise<boolean> => {
    signal.throwIfAborted();
    if (!receiver.process.isRunning) throw endedWith('ddt-receive', await receiver.process.ended);
    if (!sender.isRunning) throw endedWith('before it could be killed, ddt-send', await sender.ended);
    const { blockCount, blocks } = await receiver.status();
    blocksDurable = blocks.durable + blocks.verified;
    blocksTotal = blockCount ?? 0;
    return line.isHolding && blocks.written === 0 && blocksDurable > 0;
  };
  await until('the first half to be durable', isHalfWay, TIMEOUT_MS);
  sender.kill('SIGKILL');
  const ended = await sender.ended;
  if (ended.signal !== 'SIGKILL') throw endedWith('before it could be killed, ddt-send', ended);
  line.release();
  // With --once, the receiver does not end while somebody is connected.
  receiver.client[Symbol.dispose]();
  return { blocksDurable, blocksTotal, seconds: (performance.now() - startMs) / 1000 };
}

/** @throws Failure unless it exits 0, without having sent again what was durable at the kill. */
async function resume(parameters: readonly string[], kill: Kill): Promise<Done> {
  await using sender = await startSender(parameters);
  const ended: Ended = await bounded('ddt-send to end', sender.ended, TIMEOUT_MS);
  if (ended.status !== 0) throw endedWith('ddt-send', ended);
  const done = doneOf(ended);
  if (done.blocksSkipped < kill.blocksDurable) {
    throw new Failure(
      `${kill.blocksDurable} blocks were durable, but only ${done.blocksSkipped} were skipped`,
    );
  }
  return done;
}

/** Asks programs that know nothing of dd-transfer. @throws Failure when the disks differ. */
async function compare(image: string, target: string, signal: AbortSignal): Promise<void> {
  await runTool('cmp', [image, target], signal);
  tell('cmp', 'disk.img and copy.img are equal, byte for byte');
  const digests = (await runTool('sha256sum', [image, target], signal)).match(/^[0-9a-f]{64}/gm) ?? [];
  if (digests.length !== 2 || digests[0] !== digests[1])
    throw new Failure(`sha256sum differs: ${digests.join(', ')}`);
  tell('sha256sum', `${digests[0]}, both`);
}

function tellWhatNext(): void {
  process.stdout.write(`
To try it with a disk of yours, here and in a second terminal; the source is only read:
  scripts/ddt-receive /var/tmp/copy.img            # receives into a file, and prints a ticket
  scripts/ddt-send --dry-run /dev/sdX '<ticket>'   # names both sides and compares; sends nothing
  scripts/ddt-send /dev/sdX '<ticket>'
`);
}

async function demo(signal: AbortSignal): Promise<void> {
  const startMs = performance.now();
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(TEMPORARY, 'ddt-demo-'))).path;
  const image = join(folder, 'disk.img');
  const target = join(folder, 'copy.img');

  const { textBytes, randomBytes } = await makeDemoDisk(image, IMAGE_BYTES, signal);
  const content = `${formatSize(textBytes)} of text, ${formatSize(randomBytes)} random, the rest zeros`;
  tell('disk', `disk.img: ${formatSize(IMAGE_BYTES)}, GPT with 2 partitions, ${content}`);

  const receiver = stack.use(await startReceiver({ folder, target, options: ['--once'] }));
  const to = { host: OWN_HOST, port: receiver.port };
  const line = stack.use(
    await Relay.start({
      to,
      bytesPerSecond: LINE_BYTES_PER_SECOND,
      holdAtBytes: (textBytes + randomBytes) / 2,
    }),
  );
  tell('receive', `ddt-receive copy.img   (on a line of ${LINE_BYTES_PER_SECOND / 1e6} MB/s)`);

  const ticketFile = await writeTicketVia(receiver, line, join(folder, 'line.ticket'));
  const parameters = ['--ticket-file', ticketFile, '--block-size', BLOCK_SIZE, '--progress', 'json', image];
  tell('send', `ddt-send --block-size ${BLOCK_SIZE} disk.img '<ticket>'`);
  const kill = await sendAndKill(parameters, { receiver, line }, signal);
  const durable = `${kill.blocksDurable} of ${kill.blocksTotal} blocks are durable on the target`;
  tell('kill -9', `ddt-send killed after ${kill.seconds.toFixed(1)} s: ${durable}`);

  const resumeMs = performance.now();
  tell('resume', 'the same command again');
  const done = await resume(parameters, kill);
  const counts = `${done.blocksSkipped} blocks skipped, ${done.blocksSent} sent, ${done.blocksZero} zeros`;
  tell('', `exit 0 after ${secondsSince(resumeMs)}: ${counts}; every block read back and equal`);

  const { status } = await bounded('ddt-receive --once to end', receiver.process.ended, TIMEOUT_MS);
  if (status !== 0) throw endedWith('after the seal, ddt-receive', await receiver.process.ended);
  await compare(image, target, signal);
  tell('done', `in ${secondsSince(startMs)}`);
  tellWhatNext();
}

await runScript('demo', demo);
