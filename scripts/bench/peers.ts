/** The tools that copy a disk over a line or loopback: ddt and its alternatives. Each flushes at the end. */
import { mkdtempDisposable, open, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SCRIPTS, eventsOf, startReceiver } from '../../test/support/processes.ts';
import type { Tool } from '../../test/support/requires.ts';
import type { Started } from '../../test/support/run.ts';
import { shellQuoted } from '../../common/text.ts';
import { runTool } from '../run-script.ts';
import { shell, startAt, timeCopy, untilListening, type Copy, type CopyJob, type Peer } from './copy.ts';
import { freePort, startLoopbackSsh } from './loopback-ssh.ts';
import { PeakMemory } from './peak-memory.ts';

/** 3 with `--verify none`. */
const DDT_STATUSES = [0, 3];

/** How a run of ddt differs from the defaults. */
export interface DdtOptions {
  readonly send?: readonly string[];
  readonly receive?: readonly string[];
  /** The folder of an earlier, unfinished transfer onto this target, which is resumed. */
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
      const { route, target } = job;
      const place = { folder: own, target, host: route.farAddress, under: route.far };
      const receiver = stack.use(await startReceiver({ ...place, options: receive }));
      const receiverMemory = new PeakMemory(receiver.process);
      const options = ['--ticket-file', receiver.ticketFile, '--progress', 'json', '--yes', ...send];
      const command = [join(SCRIPTS, 'ddt-send'), ...options, job.source];
      let senderMemory: PeakMemory | undefined;
      let sender: Started | undefined;
      const begin = async (): Promise<Started> => {
        sender = stack.use(await startAt(route.near, command));
        senderMemory = new PeakMemory(sender);
        return sender;
      };
      const copy = await timeCopy(job, begin, { statuses: DDT_STATUSES, keepsHoles: true });
      sender?.kill('SIGTERM');
      const { stdout = '' } = (await sender?.ended) ?? {};
      const events = eventsOf(stdout);
      const wireBytes = Number(events.at(-1)?.['bytesWire'] ?? NaN);
      const connections = events.flatMap((event) => {
        const count = event['event'] === 'progress' ? event['connections'] : undefined;
        return typeof count === 'number' ? [count] : [];
      });
      await receiver.end('SIGTERM');
      const [senderBytes, receiverBytes] = [senderMemory?.bytes ?? NaN, receiverMemory.bytes];
      return { ...copy, connections, wireBytes, senderBytes, receiverBytes };
    },
  };
}

/** @param script runs at the near end; `ssh` is the command with its options. */
function throughSsh(
  name: string,
  options: { proof: string; programs?: readonly Tool[]; script: (job: CopyJob, ssh: string) => string },
): Peer {
  return {
    name,
    proof: options.proof,
    programs: ['sshd', 'ssh', ...(options.programs ?? [])],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const own = stack.use(await mkdtempDisposable(join(job.folder, 'ssh-'))).path;
      const { route, signal } = job;
      const elsewhere = { address: route.farAddress, near: route.near, far: route.far };
      const configFile = await startLoopbackSsh(join(own, 'ssh'), signal, stack, elsewhere);
      const script = shell(options.script(job, `ssh -F ${shellQuoted(configFile)}`));
      return await timeCopy(job, async () => stack.use(await startAt(route.near, script)));
    },
  };
}

function readDisk({ source }: CopyJob): string {
  return `dd if=${shellQuoted(source)} bs=4M status=none`;
}

/** Onto a new target or an old one. @param conversion of dd(1), besides flushing. */
function writeDisk({ target }: CopyJob, conversion = ''): string {
  const how = `conv=notrunc,fsync${conversion}`;
  return `dd of=${shellQuoted(target)} bs=4M iflag=fullblock ${how} status=none`;
}

/** @param options of ssh. */
export function ddSsh(name: string, options = '', conversion = ''): Peer {
  const script = (job: CopyJob, ssh: string): string =>
    `${readDisk(job)} | ${ssh} ${options} loopback ${shellQuoted(writeDisk(job, conversion))}`;
  return throughSsh(name, { proof: 'flushed', script });
}

/** @param options of rsync. */
export function rsync(name: string, options: string): Peer {
  return throughSsh(name, {
    proof: 'digest of the file, flushed',
    programs: ['rsync'],
    script: ({ source, target }, ssh) => {
      const places = `${shellQuoted(source)} ${shellQuoted(`loopback:${target}`)}`;
      return `rsync --inplace --fsync -s ${options} -e ${shellQuoted(ssh)} ${places}`;
    },
  });
}

/** The limit of the disk itself: no network. @param conversion of dd(1). @param flags for each side. */
export function ddAlone(name: string, conversion = '', flags = ''): Peer {
  return {
    name,
    proof: 'flushed',
    programs: [],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const write = writeDisk(job, conversion).slice('dd '.length);
      const script = `dd if=${shellQuoted(job.source)} ${write} ${flags}`;
      return await timeCopy(job, async () => stack.use(await startAt(job.route.near, shell(script))));
    },
  };
}

/** No copy: the time that reading the target back takes. */
export function readTarget(name: string): Peer {
  return {
    name,
    proof: '',
    programs: [],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const script = `dd if=${shellQuoted(job.target)} of=/dev/null bs=4M iflag=direct status=none`;
      return await timeCopy(job, async () => stack.use(await startAt(job.route.near, shell(script))));
    },
  };
}

/** @param filters a program for each side to pipe through. */
export function ddNc(name: string, filters?: readonly [Tool, string], conversion = ''): Peer {
  const through = (program: string | undefined): string => (program === undefined ? '' : ` | ${program}`);
  return {
    name,
    proof: 'flushed',
    programs: ['nc', 'ss', ...(filters === undefined ? [] : [filters[0]])],
    copy: async (job) => {
      const read = `${readDisk(job)}${through(filters?.[0])}`;
      const write = writeDisk(job, conversion);
      return await copyThroughNc(job, read, filters === undefined ? write : `${filters[1]} | ${write}`);
    },
  };
}

/** @param read writes to its standard output; @param write reads its standard input. */
async function copyThroughNc(job: CopyJob, read: string, write: string): Promise<Copy> {
  await using stack = new AsyncDisposableStack();
  const { near, far, farAddress } = job.route;
  const port = await freePort();
  const server = stack.use(await startAt(far, shell(`nc -l ${farAddress} ${port} | ${write}`)));
  await untilListening(job, port, server);
  return await timeCopy(job, async () => {
    stack.use(await startAt(near, shell(`${read} | nc -N ${farAddress} ${port}`)));
    // The sender ends before the receiver has flushed.
    return server;
  });
}

/** Only what the file system uses, in partclone's own format. */
export function partclone(name: string): Peer {
  const quiet = '--quiet --logfile /dev/null';
  return {
    name,
    proof: 'CRC-32, flushed',
    programs: ['partclone.extfs', 'nc', 'ss'],
    copy: async (job) => {
      const [source, target] = [job.source, job.target].map(shellQuoted);
      const read = `partclone.extfs --clone --source ${source} --output - ${quiet}`;
      const write = `partclone.extfs --restore --source - --output ${target} ${quiet} && sync ${target}`;
      return await copyThroughNc(job, read, write);
    },
  };
}

/** nbdkit serves a file of the size that it finds. */
async function fitFile({ target, sizeBytes }: CopyJob): Promise<void> {
  const found = await stat(target).catch(() => undefined);
  if (found !== undefined && (!found.isFile() || found.size === sizeBytes)) return;
  await using handle = await open(target, 'a');
  await handle.truncate(sizeBytes);
}

/**
 * A certificate for the server, from an authority that the clients trust. With pre-shared keys GnuTLS agrees
 * on ChaCha20, at an eighth of the speed of AES: keys for SHA-256 rule out AES-256-GCM, and ChaCha20 comes
 * before AES-128-GCM.
 */
async function makeCertificate({ route, signal }: CopyJob, folder: string): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const make = async (name: string, lines: readonly string[], signedBy: readonly string[]): Promise<void> => {
    await writeFile(at('template'), lines.join('\n'));
    const key = at(`${name}-key.pem`);
    await runTool('certtool', ['--generate-privkey', '--key-type=ecdsa', '--outfile', key], signal);
    const how = [...signedBy, '--load-privkey', key, '--template', at('template')];
    await runTool('certtool', [...how, '--outfile', at(`${name}-cert.pem`)], signal);
  };
  // qemu-img wants an authority, and a server that is none.
  await make('ca', ['cn = bench', 'ca', 'cert_signing_key'], ['--generate-self-signed']);
  const server = ['cn = server', `ip_address = ${route.farAddress}`, 'tls_www_server', 'signing_key'];
  const authority = ['--load-ca-certificate', at('ca-cert.pem'), '--load-ca-privkey', at('ca-key.pem')];
  await make('server', server, ['--generate-certificate', ...authority]);
}

/**
 * @param command of the client; `keys` is the folder of `ca-cert.pem`.
 * @param plugin parameters of nbdkit's.
 */
function toNbdkit(
  name: string,
  client: Tool,
  command: (job: CopyJob, server: { port: number; keys: string }) => readonly string[],
  plugin: readonly string[] = [],
): Peer {
  return {
    name,
    proof: 'flushed',
    programs: ['nbdkit', client, 'certtool', 'ss'],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const keys = stack.use(await mkdtempDisposable(join(job.folder, 'nbd-'))).path;
      const { near, far, farAddress } = job.route;
      await makeCertificate(job, keys);
      await fitFile(job);
      const port = await freePort();
      const tls = ['--tls=require', `--tls-certificates=${keys}`];
      const place = ['-f', '-i', farAddress, '-p', String(port)];
      const server = stack.use(
        await startAt(far, ['nbdkit', ...place, ...tls, 'file', job.target, ...plugin]),
      );
      await untilListening(job, port, server);
      const begin = async (): Promise<Started> => {
        return stack.use(await startAt(near, command(job, { port, keys })));
      };
      return await timeCopy(job, begin, { keepsHoles: true });
    },
  };
}

/** @param options besides the number of connections. @param plugin parameters of nbdkit's. */
export function nbdcopy(name: string, options: readonly string[] = [], plugin: readonly string[] = []): Peer {
  return toNbdkit(name, 'nbdcopy', (job, server) => nbdcopyCommand(job, server, options), plugin);
}

function nbdcopyCommand(
  { source, route }: CopyJob,
  { port, keys }: { port: number; keys: string },
  options: readonly string[],
): readonly string[] {
  const uri = `nbds://${route.farAddress}:${port}/?tls-certificates=${keys}`;
  return ['nbdcopy', '--flush', '--connections=4', '--requests=16', ...options, source, uri];
}

/** What ddt does as well: the target is read past the page cache, and compared with the source. */
export function nbdcopyCompared(name: string, options: readonly string[], plugin: readonly string[]): Peer {
  const compare = ({ source, target }: CopyJob): string =>
    `dd if=${shellQuoted(target)} bs=4M iflag=direct status=none | cmp - ${shellQuoted(source)}`;
  const command = (job: CopyJob, server: { port: number; keys: string }): readonly string[] =>
    shell(`${nbdcopyCommand(job, server, options).map(shellQuoted).join(' ')}; ${compare(job)}`);
  return { ...toNbdkit(name, 'nbdcopy', command, plugin), proof: 'flushed, read back' };
}

/** @param options besides those that make it fast: eight requests in flight, in any order. */
export function qemuImg(name: string, options: readonly string[] = []): Peer {
  return toNbdkit(name, 'qemu-img', ({ source, route }, { port, keys }) => {
    const secret = `tls-creds-x509,id=keys,dir=${keys},endpoint=client`;
    const server = `server.type=inet,server.host=${route.farAddress},server.port=${port}`;
    const target = `driver=nbd,${server},tls-creds=keys`;
    // Its default cache mode, unsafe, never flushes.
    const how = ['-n', '-f', 'raw', '-t', 'writeback', '-m', '8', '-W', ...options];
    return ['qemu-img', 'convert', '--object', secret, ...how, source, '--target-image-opts', target];
  });
}
