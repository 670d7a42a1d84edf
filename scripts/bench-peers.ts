/** What copies a disk over a line or loopback: ddt, and what people use instead. Each flushes at its end. */
import { mkdtempDisposable, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OwnProcess, SCRIPTS, run, startReceiver } from './both-sides.ts';
import { quoted, shell, timeCopy, untilListening, type CopyJob, type Peer } from './bench-copy.ts';
import { freePort, startLoopbackSsh } from './loopback-ssh.ts';

/** Without a proof, or with `--verify none` (README, "Exit statuses"). */
const DDT_STATUSES = [0, 3];

/** What a way to run ddt differs in from the defaults. */
export interface DdtOptions {
  readonly send?: readonly string[];
  readonly receive?: readonly string[];
  /** Of an earlier, unfinished transfer onto this target: its state folder. */
  readonly folder?: string;
}

export function ddt(name: string, { send = [], receive = [], folder }: DdtOptions = {}): Peer {
  const isReadBack = !receive.includes('none');
  return {
    name,
    proof: `digests, flushed${isReadBack ? ', read back' : ''}`,
    programs: [],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const own = folder ?? stack.use(await mkdtempDisposable(join(job.folder, 'ddt-'))).path;
      const { route, target, signal } = job;
      const place = { folder: own, target, signal, address: route.farAddress, within: route.far };
      const receiver = await startReceiver({ ...place, parameters: receive }, stack);
      const options = ['--ticket-file', receiver.ticketFile, '--progress', 'json', '--yes', ...send];
      const command = [join(SCRIPTS, 'ddt-send'), ...options, job.source];
      const start = (): OwnProcess => stack.use(OwnProcess.within(route.near, command));
      let sender: OwnProcess | undefined;
      const ending = { statuses: DDT_STATUSES, keepsHoles: true };
      const copy = await timeCopy(job, () => (sender = start()), ending);
      const events = (sender?.lines ?? []).map((text) => {
        return JSON.parse(text) as { event: string; connections?: number };
      });
      const connections = events.flatMap((event) =>
        event.event === 'progress' && event.connections !== undefined ? [event.connections] : [],
      );
      sender?.kill('SIGTERM');
      receiver.process.kill('SIGTERM');
      const senderBytes = (await sender?.ended)?.peakMemoryBytes ?? NaN;
      const receiverBytes = (await receiver.process.ended).peakMemoryBytes;
      return { ...copy, connections, senderBytes, receiverBytes };
    },
  };
}

/** @param script what runs at the near end; `ssh` is ssh with its options. */
function throughSsh(
  name: string,
  options: { proof: string; programs?: Peer['programs']; script: (job: CopyJob, ssh: string) => string },
): Peer {
  return {
    name,
    proof: options.proof,
    programs: [['sshd', 'openssh-server'], ['ssh', 'openssh-client'], ...(options.programs ?? [])],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const own = stack.use(await mkdtempDisposable(join(job.folder, 'ssh-'))).path;
      const { route, signal } = job;
      const elsewhere = { address: route.farAddress, near: route.near, far: route.far };
      const configFile = await startLoopbackSsh(join(own, 'ssh'), signal, stack, elsewhere);
      const script = shell(options.script(job, `ssh -F ${quoted(configFile)}`));
      return await timeCopy(job, () => stack.use(OwnProcess.within(route.near, script)));
    },
  };
}

function readDisk({ source }: CopyJob): string {
  return `dd if=${quoted(source)} bs=4M status=none`;
}

/** Also onto a target that holds other bytes. @param conversion of dd(1), besides flushing. */
function writeDisk({ target }: CopyJob, conversion = ''): string {
  const how = `conv=notrunc,fsync${conversion}`;
  return `dd of=${quoted(target)} bs=4M iflag=fullblock ${how} status=none`;
}

/** @param options of ssh. */
export function ddSsh(name: string, options = '', conversion = ''): Peer {
  const script = (job: CopyJob, ssh: string): string =>
    `${readDisk(job)} | ${ssh} ${options} loopback ${quoted(writeDisk(job, conversion))}`;
  return throughSsh(name, { proof: 'flushed', script });
}

/** @param options of rsync. */
export function rsync(name: string, options: string): Peer {
  return throughSsh(name, {
    proof: 'digest of the file, flushed',
    programs: [['rsync', 'rsync']],
    script: ({ source, target }, ssh) => {
      const places = `${quoted(source)} ${quoted(`loopback:${target}`)}`;
      return `rsync --inplace --fsync -s ${options} -e ${quoted(ssh)} ${places}`;
    },
  });
}

/** The disk's own limit: no line between. */
export function ddAlone(name: string, conversion = ''): Peer {
  return {
    name,
    proof: 'flushed',
    programs: [],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const script = `dd if=${quoted(job.source)} ${writeDisk(job, conversion).slice('dd '.length)}`;
      return await timeCopy(job, () => stack.use(OwnProcess.within([], shell(script))));
    },
  };
}

/** @param filters a program to go through on each side; none: straight. */
export function ddNc(name: string, filters: readonly [string, string] | undefined, conversion = ''): Peer {
  const through = (program: string | undefined): string => (program === undefined ? '' : ` | ${program}`);
  return {
    name,
    proof: 'flushed',
    programs: [
      ['nc', 'netcat-openbsd'],
      ['ss', 'iproute2'],
      ...(filters?.map((program): [string, string] => [program, 'bzip2']) ?? []),
    ],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const { near, far, farAddress } = job.route;
      const port = await freePort();
      const receive = `nc -l ${farAddress} ${port}${through(filters?.[1])} | ${writeDisk(job, conversion)}`;
      const server = stack.use(OwnProcess.within(far, shell(receive)));
      await untilListening(job, port, server);
      const send = `${readDisk(job)}${through(filters?.[0])} | nc -N ${farAddress} ${port}`;
      return await timeCopy(job, () => {
        stack.use(OwnProcess.within(near, shell(send)));
        // The sender knows nothing of the end: it is there when the receiver has flushed.
        return server;
      });
    },
  };
}

/** @param command of the client; `keys` is the folder of `keys.psk`. */
function toNbdkit(
  name: string,
  client: Peer['programs'][number],
  command: (job: CopyJob, server: { port: number; keys: string }) => readonly string[],
): Peer {
  return {
    name,
    proof: 'flushed',
    programs: [['nbdkit', 'nbdkit'], client, ['psktool', 'gnutls-bin'], ['ss', 'iproute2']],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const keys = stack.use(await mkdtempDisposable(join(job.folder, 'nbd-'))).path;
      const { near, far, farAddress } = job.route;
      await run('psktool', ['-u', 'bench', '-p', join(keys, 'keys.psk')], job.signal);
      await using handle = await open(job.target, 'a');
      if ((await stat(job.target)).size !== job.sizeBytes) await handle.truncate(job.sizeBytes);
      const port = await freePort();
      const tls = ['--tls=require', `--tls-psk=${join(keys, 'keys.psk')}`];
      const place = ['-f', '-i', farAddress, '-p', String(port)];
      const server = stack.use(OwnProcess.within(far, ['nbdkit', ...place, ...tls, 'file', job.target]));
      await untilListening(job, port, server);
      const start = (): OwnProcess => stack.use(OwnProcess.within(near, command(job, { port, keys })));
      return await timeCopy(job, start, { keepsHoles: true });
    },
  };
}

/** @param options besides the number of connections. */
export function nbdcopy(name: string, options: readonly string[] = []): Peer {
  return toNbdkit(name, ['nbdcopy', 'libnbd-bin'], ({ source, route }, { port, keys }) => {
    const uri = `nbds://bench@${route.farAddress}:${port}/?tls-psk-file=${join(keys, 'keys.psk')}`;
    return ['nbdcopy', '--flush', '--connections=4', '--requests=16', ...options, source, uri];
  });
}

/** @param options besides those that make it quick: eight requests at once, in any order. */
export function qemuImg(name: string, options: readonly string[] = []): Peer {
  return toNbdkit(name, ['qemu-img', 'qemu-utils'], ({ source, route }, { port, keys }) => {
    const secret = `tls-creds-psk,id=keys,dir=${keys},username=bench,endpoint=client`;
    const server = `server.type=inet,server.host=${route.farAddress},server.port=${port}`;
    const target = `driver=nbd,${server},tls-creds=keys`;
    // Its default, unsafe, never flushes.
    const how = ['-n', '-f', 'raw', '-t', 'writeback', '-m', '8', '-W', ...options];
    return ['qemu-img', 'convert', '--object', secret, ...how, source, '--target-image-opts', target];
  });
}
