/** ddt-fleet: reads the arguments, takes signals, and ends the process; nothing else of the fleet does. */
import { EXIT_STATUS, TransferError, exitStatusOf } from '../common/errors.ts';
import { openTextOutput } from '../common/io/terminal-output.ts';
import { failureText } from '../common/text.ts';
import { parseFleetArgs } from './cli.ts';

// Output to a closed pipe, or to a terminal that is gone, must not end a fleet.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const outputs = { out: openTextOutput(process.stdout), err: openTextOutput(process.stderr) };

async function main(): Promise<number> {
  const options = parseFleetArgs(process.argv.slice(2), (text) => process.stdout.write(text));
  if (options === 'help') return EXIT_STATUS.verified;
  const { runFleet } = await import('./run.ts');
  const interruption = new AbortController();
  let interruptedStatus: number = EXIT_STATUS.sigint;
  for (const [name, status] of [
    ['SIGINT', EXIT_STATUS.sigint],
    ['SIGTERM', EXIT_STATUS.sigterm],
  ] as const) {
    process.on(name, () => {
      // The ddt-send of each job notices the end of this process.
      if (interruption.signal.aborted) process.exit(status);
      interruptedStatus = status;
      interruption.abort(new TransferError('interrupted', 'interrupted'));
    });
  }
  // For ps and pgrep.
  process.title = `ddt-fleet: ${options.table}`;
  return await runFleet(options, {
    outputs,
    signal: interruption.signal,
    interruptedStatus: () => interruptedStatus,
  });
}

try {
  const status = await main();
  if (process.stderr.isTTY) await outputs.err.drain();
  await outputs.out.drain();
  process.exit(status);
} catch (error) {
  if (!(error instanceof TransferError)) throw error;
  process.stderr.write(failureText('ddt-fleet', error));
  process.exit(exitStatusOf(error.kind));
}
