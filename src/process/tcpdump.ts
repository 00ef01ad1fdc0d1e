/** tcpdump(8) on one interface of a network namespace, for a program to read. It ends with minict, whatever ends that. */
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { toolPath } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';

export interface Source {
  /** `web1:eth0`, the interface's name in the file. */
  readonly name: string;
  readonly netnsFile: string;
  readonly nic: string;
}

export interface Choice {
  readonly filter: string | undefined;
  /** Of each packet no more than that. */
  readonly snapBytes: number | undefined;
}

/** Immediate mode has a place of 64 KiB for each packet where an interface offloads: these are 256 of them. */
const BUFFER_KIB = '16384';

/**
 * In a session of its own: a terminal's Ctrl-C is for minict alone, which lets it read on for a moment. Immediate: otherwise
 * packets lie in the kernel for a second. Nanoseconds: the two ends of a link are a few microseconds apart. Debian's tcpdump
 * would become another user, and then PR_SET_PDEATHSIG is forgotten.
 */
export function tcpdumpArgv({ netnsFile, nic }: Source, { filter, snapBytes }: Choice): string[] {
  const enter = [toolPath('nsenter'), `--net=${netnsFile}`, toolPath('setsid')];
  const tcpdump = ['tcpdump', '-i', nic, '-U', '--immediate-mode', '-B', BUFFER_KIB, '--time-stamp-precision=nano'];
  const size = snapBytes === undefined ? [] : ['-s', String(snapBytes)];
  const what = [...size, '-Z', 'root', '-w', '-', ...(filter === undefined ? [] : ['--', filter])];
  return [...enter, toolPath('setpriv'), '--pdeathsig', 'INT', ...tcpdump, ...what];
}

/** Throws InvalidInputError for what pcap-filter(7) does not know. */
export async function requireFilter(filter: string): Promise<void> {
  const output = await readToolOutput(['tcpdump', '-y', 'EN10MB', '-d', '--', filter]);
  if (output?.exitCode === 0) return;
  const cause = firstLine(output?.stderr ?? '').replace(/^tcpdump: /, '');
  throw new InvalidInputError(`cannot use --filter ${JSON.stringify(filter)}: ${cause}`, {
    hint: "man 7 pcap-filter; for example 'icmp or tcp port 80'",
  });
}

export class Tcpdump {
  readonly source: Source;
  readonly output: ReadableStream<Uint8Array>;
  private readonly child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>;
  private said = '';

  constructor(source: Source, argv: readonly string[]) {
    this.source = source;
    this.child = Bun.spawn([...argv], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
    this.output = this.child.stdout;
  }

  /** Resolves once it captures. Throws HostError where it ends before. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const listen = async () => {
        const decoder = new TextDecoder();
        for await (const piece of this.child.stderr) {
          this.said += decoder.decode(piece, { stream: true });
          if (this.said.includes('listening on ')) resolve();
        }
        const cause = firstLine(this.said).replace(/^tcpdump: /, '') || 'tcpdump failed';
        reject(new HostError(`cannot capture ${this.source.name}: ${cause}`));
      };
      listen().catch(reject);
    });
  }

  /** Its output goes on until it has said all. */
  end(): void {
    this.child.kill('SIGINT');
  }

  /** What it complained of, where it did not end by `end`. */
  async failure(): Promise<string | undefined> {
    return (await this.child.exited) === 0 ? undefined : (this.complaint() ?? 'tcpdump was ended');
  }

  private complaint(): string | undefined {
    return this.said
      .split('\n')
      .find((line) => line.startsWith('tcpdump: ') && !line.includes('listening on '))
      ?.replace('tcpdump: ', '');
  }

  /** Packets that were too many for it. */
  dropped(): number {
    return Number(/^(\d+) packets? dropped by kernel/m.exec(this.said)?.[1] ?? 0);
  }
}
