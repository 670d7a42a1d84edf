/**
 * The promise of dd-transfer, kept before your eyes in half a minute and without root: a disk image is sent,
 * the sender is killed half way, the same command goes on where it stopped; cmp and sha256sum compare.
 */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Failure,
  OwnProcess,
  type ProcessEnd,
  run,
  type RunningReceiver,
  runScript,
  SCRIPTS,
  startReceiver,
  TEMPORARY,
  until,
} from './both-sides.ts';
import { startSlowLine } from './slow-line.ts';
import { TicketClient } from './ticket-client.ts';

const IMAGE_SIZE = '512MiB';
const BLOCK_SIZE = '256KiB';
/** At the speed of loopback there would hardly be a half way to speak of. */
const LINE_BYTES_PER_SECOND = 40e6;
const HALF_WAY_TIMEOUT_MS = 60_000;

/** The last line of `--progress json`. */
interface Done {
  readonly event: string;
  readonly blocksTotal: number;
  readonly blocksSent: number;
  readonly blocksSkipped: number;
  readonly blocksZero: number;
  readonly bytesWire: number;
  readonly verified: string;
}

/** Where the first run was stopped. */
interface Stop {
  readonly blocksDurable: number;
  readonly blocksTotal: number;
  readonly seconds: number;
}

/** When the receiver does not answer, as when it has sealed the transfer and gone. */
const NOT_KNOWN = { blockCount: null, blocks: { durable: 0, verified: 0 } };

function tell(step: string, text: string): void {
  process.stdout.write(`${step.padEnd(9)} ${text}\n`);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** @throws Failure when one of the two has ended: then there is no half way. */
async function checkRunning(sender: OwnProcess, receiver: OwnProcess): Promise<void> {
  if (!sender.isRunning) {
    const { status, errors } = await sender.ended;
    const words = status === 0 ? 'the disk was too small or the line too fast' : errors.join(' · ');
    throw new Failure(`ddt-send ended with ${status} before it could be killed half way: ${words}`);
  }
  if (receiver.isRunning) return;
  const { status, errors } = await receiver.ended;
  // With 0 it has sealed the transfer, and the sender is about to end.
  if (status !== 0) throw new Failure(`ddt-receive ended with ${status}: ${errors.join(' · ')}`);
}

/** @throws Failure when the sender ends by itself: then there was nothing to resume. */
async function sendAndKill(
  parameters: readonly string[],
  receiver: RunningReceiver,
  signal: AbortSignal,
): Promise<Stop> {
  using client = new TicketClient(receiver.ticket);
  await using sender = new OwnProcess(join(SCRIPTS, 'ddt-send'), parameters);
  const startedMs = performance.now();
  let blocksDurable = 0;
  let blocksTotal = 0;
  await until('half of the blocks to be durable', signal, HALF_WAY_TIMEOUT_MS, async () => {
    await checkRunning(sender, receiver.process);
    const { blockCount, blocks } = await client.status().catch(() => NOT_KNOWN);
    blocksDurable = blocks.durable + blocks.verified;
    blocksTotal = blockCount ?? 0;
    return blocksTotal > 0 && blocksDurable >= blocksTotal / 2;
  });
  sender.kill('SIGKILL');
  const end = await sender.ended;
  if (end.signal !== 'SIGKILL' || blocksDurable === blocksTotal) {
    const words = `${blocksDurable} of ${blocksTotal} blocks were durable`;
    throw new Failure(`ddt-send was through before it could be killed half way: ${words}`);
  }
  return { blocksDurable, blocksTotal, seconds: (performance.now() - startedMs) / 1000 };
}

/** @throws Failure unless the run proves that blocks of the first one were not sent again. */
function checkDone(end: ProcessEnd, stop: Stop): Done {
  const done: Done = JSON.parse(end.lines.at(-1) ?? '{}');
  if (done.event !== 'done')
    throw new Failure(`ddt-send exited 0 but its last line is not 'done': ${end.lines.at(-1)}`);
  if (!(done.blocksSkipped >= stop.blocksDurable)) {
    throw new Failure(
      `${stop.blocksDurable} blocks were durable, but only ${done.blocksSkipped} were skipped`,
    );
  }
  return done;
}

/** Asks tools that know nothing of dd-transfer. @throws Failure when the disks differ. */
async function compare(image: string, target: string, signal: AbortSignal): Promise<void> {
  await run('cmp', [image, target], signal);
  const { lines } = await run('sha256sum', [image, target], signal);
  const digests = lines.map((line) => line.split(' ')[0] ?? '');
  if (digests.length !== 2 || digests[0] !== digests[1])
    throw new Failure(`sha256sum differs: ${digests.join(', ')}`);
  tell('cmp', 'image and target are equal, byte for byte');
  tell('sha256sum', `${digests[0]} (both)`);
}

async function demo(signal: AbortSignal): Promise<void> {
  const startedMs = performance.now();
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(TEMPORARY, 'ddt-demo-'))).path;
  const image = join(folder, 'disk.img');
  const target = join(folder, 'target.img');

  tell('image', `making a disk of ${IMAGE_SIZE} in ${folder}`);
  const made = await run(join(SCRIPTS, 'make-image'), [image, IMAGE_SIZE], signal);
  tell('', `${(made.lines[0] ?? '').replace(`${image}: `, '')} (${made.seconds.toFixed(1)} s)`);

  const receiver = await startReceiver({ folder, target, parameters: ['--once'], signal }, stack);
  const receiverUrl = new URL(receiver.ticket);
  const linePort = await startSlowLine(Number(receiverUrl.port), LINE_BYTES_PER_SECOND, stack);
  tell(
    'receive',
    `ddt-receive ${target}: ${receiverUrl.host}, behind a line of ${LINE_BYTES_PER_SECOND / 1e6} MB/s`,
  );

  const ticketFile = join(folder, 'line.ticket');
  await writeFile(ticketFile, receiver.ticket.replace(`:${receiverUrl.port}/`, `:${linePort}/`), {
    mode: 0o600,
  });
  const parameters = ['--ticket-file', ticketFile, '--block-size', BLOCK_SIZE, '--progress', 'json', image];
  tell('send', `ddt-send --block-size ${BLOCK_SIZE} ${image}`);
  const stop = await sendAndKill(parameters, receiver, signal);
  const blocks = `${stop.blocksDurable} of ${stop.blocksTotal} blocks durable on the target`;
  tell('kill -9', `the sender is dead after ${stop.seconds.toFixed(1)} s, with ${blocks}`);

  tell('send', 'the same command again');
  const again = await run(join(SCRIPTS, 'ddt-send'), parameters, signal);
  const done = checkDone(again, stop);
  const counts = `${done.blocksSkipped} blocks skipped, ${done.blocksSent} sent, ${done.blocksZero} zero`;
  tell('', `exit 0 after ${again.seconds.toFixed(1)} s: ${counts}, ${megabytes(done.bytesWire)} on the wire`);

  const { status } = await receiver.process.ended;
  if (status !== 0)
    throw new Failure(`ddt-receive --once ended with ${status} after the transfer was sealed`);
  const proof =
    done.verified === 'read-back' ? 'durable, read back and found equal' : 'durable and equal by digest';
  tell('receive', `exit 0: all ${done.blocksTotal} blocks are ${proof}`);
  await compare(image, target, signal);
  tell('done', `everything held, in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
}

await runScript('demo', demo);
