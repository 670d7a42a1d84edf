/**
 * ddt-receive: arguments, messages, signals, exit status. The only file of the receiver that ends the
 * process.
 */
import { systemClock } from '../common/clock.ts';
import { diskKind, diskName } from '../common/disk/disk-line.ts';
import { EXIT_STATUS, TransferError, exitStatusOf } from '../common/errors.ts';
import { countExternalMemory } from '../common/io/garbage.ts';
import { BLOCK_SIZE_BYTES_DEFAULT } from '../common/geometry.ts';
import { formatTicket } from '../common/trust/ticket.ts';
import { failureText } from '../common/text.ts';
import { formatSize } from '../common/units.ts';
import { isPrivateAddress } from './identity/advertise.ts';
import { parseReceiveArgs, type ReceiveOptions } from './cli.ts';
import { curlHelp } from './console/curl-help.ts';
import { makeLog } from './console/log.ts';
import { startReceiver, type RunningReceiver } from './start.ts';

/** With --once: how long nobody must have been connected after the seal, and how long that is waited for. */
const ONCE_QUIET_MS = 500;
const ONCE_WAIT_MS = 60_000;
/** Requests in hand get this long to finish when the process is asked to stop. */
const STOP_GRACE_MS = 10_000;

function print(text: string): void {
  process.stdout.write(text);
}

function printStart(options: ReceiveOptions, receiver: RunningReceiver): void {
  const { transfer, server, ticket, content } = receiver;
  const { identity } = transfer.target;
  const open = transfer.opened;
  const size = identity.sizeBytes === null ? 'takes the size of the source' : formatSize(identity.sizeBytes);
  const holds = receiver.isResumed
    ? 'holds this transfer'
    : content.length === 0
      ? 'empty'
      : `holds ${content.join(', ')}`;
  print(`target   ${diskName(identity)}: ${diskKind(identity)}, ${size}, ${holds}\n`);
  if (open === undefined) print(`journal  ${transfer.journal.path} (new)\n`);
  else {
    const durable = open.table.countOf('durable') + open.table.countOf('verified');
    const state = transfer.sealed === undefined ? 'NOT FINISHED' : 'complete and sealed';
    const of = open.claim.size === null ? '' : ` of ${open.blockCount}`;
    const unknown = open.claim.size === null ? 'size not known yet, ' : '';
    print(`journal  ${transfer.journal.path} (${state}: ${unknown}${durable}${of} blocks durable, `);
    print(`${transfer.verifiedCount} verified; `);
    print(`a sample of ${receiver.sampledBlocks} compared)\n`);
  }
  print(`listening on ${server.host.includes(':') ? `[${server.host}]` : server.host}:${server.port}\n`);
  print(`ticket: ${formatTicket(ticket)}\n`);
  if (options.advertise === undefined && isPrivateAddress(ticket.host)) {
    print(
      `note: ${ticket.host} is a private address; ` +
        'if senders reach this machine by another one, --advertise it\n',
    );
  }
  if (options.curlHelp)
    print(`\n${curlHelp(ticket, open?.geometry.blockSizeBytes ?? BLOCK_SIZE_BYTES_DEFAULT)}`);
}

async function main(): Promise<number> {
  // What another ddt-receive calls this process when it finds the target open.
  process.title = 'ddt-receive';
  const options = parseReceiveArgs(process.argv.slice(2), print);
  if (options === 'help') return 0;
  countExternalMemory();
  const end = Promise.withResolvers<number>();
  const log = makeLog(options.log, systemClock, (line) => process.stderr.write(line));
  const receiver = await startReceiver(options, {
    clock: systemClock,
    log,
    events: {
      onSealed: () => {
        if (options.once) end.resolve(EXIT_STATUS.verified);
      },
      onJournalBroken: (error) => {
        // Nothing may be acknowledged without a journal; the blocks of the last second will be sent again.
        process.stderr.write(failureText('ddt-receive', error));
        process.exit(EXIT_STATUS.device);
      },
    },
  });
  for (const [signal, status] of [
    ['SIGINT', EXIT_STATUS.sigint],
    ['SIGTERM', EXIT_STATUS.sigterm],
  ] as const) {
    process.on(signal, () => {
      // A second signal does not wait: what is journalled is safe.
      if (signals++ > 0) process.exit(status);
      end.resolve(receiver.transfer.sealed === undefined ? status : EXIT_STATUS.verified);
    });
  }
  let signals = 0;
  printStart(options, receiver);
  const status = await end.promise;
  // The sender closes its connections when it has its receipt; if the answer was lost it comes again.
  if (status === EXIT_STATUS.verified) await receiver.server.quiet(ONCE_QUIET_MS, ONCE_WAIT_MS);
  await receiver.stop(STOP_GRACE_MS);
  if (status !== EXIT_STATUS.verified) {
    log.info(
      'stopped before the transfer was complete; the same command goes on ' +
        `(journal: ${receiver.transfer.journal.path})`,
    );
  }
  return status;
}

// A log on a closed pipe must not end a transfer.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

try {
  process.exit(await main());
} catch (error) {
  if (!(error instanceof TransferError)) throw error;
  process.stderr.write(failureText('ddt-receive', error));
  process.exit(exitStatusOf(error.kind));
}
