/** ddt-send: reads the arguments, and ends the process; nothing else of the sender does. */
import { TransferError, exitStatusOf } from '../common/errors.ts';
import { openTextOutput } from '../common/io/terminal-output.ts';
import { failureText } from '../common/text.ts';
import { parseSendArgs } from './cli.ts';
import type { Outputs } from './display/make-reporter.ts';
import { takeMovedArguments } from './moved-arguments.ts';

async function main(outputs: Outputs): Promise<number> {
  const words = takeMovedArguments(process.argv.slice(2), process.env);
  const options = parseSendArgs(words, (text) => process.stdout.write(text));
  if (options === 'help') return 0;
  if (options.relayPort !== undefined) {
    const { relay } = await import('../common/io/relay.ts');
    return await relay({ host: '127.0.0.1', port: options.relayPort });
  }
  // It takes a tenth of a second to load: who asks for the version, or mistypes an option, does not wait.
  const { runSend, runShow } = await import('./run.ts');
  const exit = (status: number): void => process.exit(status);
  if (options.show !== undefined) return await runShow(options.show, options, exit);
  return await runSend(options, outputs, exit);
}

// A log that nobody reads any more, or a terminal that is gone, must not end a transfer.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const outputs = { out: openTextOutput(process.stdout), err: openTextOutput(process.stderr) };
try {
  const status = await main(outputs);
  // What was proven must be read, on a terminal that is stopped too.
  if (process.stderr.isTTY) await outputs.err.drain();
  await outputs.out.drain();
  process.exit(status);
} catch (error) {
  if (!(error instanceof TransferError)) throw error;
  process.stderr.write(failureText('ddt-send', error));
  process.exit(exitStatusOf(error.kind));
}
