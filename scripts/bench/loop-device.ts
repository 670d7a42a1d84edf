/** Disks for benchmarks: loop devices past the page cache, over files that have all of their blocks. */
import { run } from '../../test/support/run.ts';
import { runTool } from '../run-script.ts';

/** @param stack detaches it. @returns its path. */
export async function makeDevice(
  file: string,
  sizeBytes: number,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<string> {
  await runTool('fallocate', ['--length', String(sizeBytes), file], signal);
  const device = await runTool('losetup', ['--find', '--show', '--direct-io=on', file], signal);
  stack.defer(async () => void (await run('losetup', ['--detach', device.trim()])));
  return device.trim();
}
