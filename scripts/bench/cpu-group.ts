/** The processor time of one end of a copy: all its processes are in a control group of their own. */
import { mkdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Of version 1, with its file of nanoseconds (cgroup-v1/cpuacct), and of version 2 (cgroup-v2, CPU). */
const HIERARCHIES = [
  { root: '/sys/fs/cgroup/cpuacct', file: 'cpuacct.usage', form: /^(\d+)$/m, perSecond: 1e9 },
  { root: '/sys/fs/cgroup', file: 'cpu.stat', form: /^usage_usec (\d+)$/m, perSecond: 1e6 },
] as const;

export interface CpuGroup extends AsyncDisposable {
  /** What a command starts with to be in it. */
  readonly under: readonly string[];
  /** Used by its processes so far, those that have ended included. */
  seconds(): Promise<number>;
}

/** @returns undefined where groups cannot be made: as another user than root, in most containers. */
export async function openCpuGroup(name: string): Promise<CpuGroup | undefined> {
  for (const { root, file, form, perSecond } of HIERARCHIES) {
    const folder = join(root, `ddt-bench-${process.pid}-${name}`);
    const seconds = async (): Promise<number> => {
      const [, usage = ''] = form.exec(await readFile(join(folder, file), 'utf8')) ?? [];
      return Number(usage) / perSecond;
    };
    try {
      await mkdir(folder);
      await seconds();
    } catch {
      continue;
    }
    return {
      under: ['sh', '-c', `echo $$ > ${join(folder, 'cgroup.procs')} && exec "$@"`, 'sh'],
      seconds,
      [Symbol.asyncDispose]: async () => await rmdir(folder).catch(() => {}),
    };
  }
  return undefined;
}
