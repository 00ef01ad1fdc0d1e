/** A lab for minict why: two networks, a container that routes between them, one in both, and servers. */
import { dirname } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { expectCreated } from './expect.ts';
import { eventually, Host, MINICT } from './host.ts';

interface Check {
  readonly state: 'ok' | 'fail';
  readonly where: string;
  readonly check: string;
  readonly found: string;
  readonly cause?: string;
  readonly fix?: string;
  readonly look?: string;
}

export interface Told {
  readonly works: boolean;
  readonly from?: string;
  readonly to: string;
  readonly cause?: string;
  readonly where?: string;
  readonly fix?: string;
  readonly checks: readonly Check[];
}

/** A fault, what is asked, and what has to be named: cause, place, and words of what was found. */
export type Fault = readonly [
  name: string,
  inject: string,
  question: string,
  cause: string,
  where: string,
  found: RegExp,
];

export class WhyLab {
  readonly host: Host;

  private constructor(host: Host) {
    this.host = host;
  }

  static async create(): Promise<WhyLab> {
    const lab = new WhyLab(await Host.create());
    const { host } = lab;
    for (const [name, n] of [
      ['lana', 1],
      ['lanb', 2],
    ] as const) {
      const subnets = ['--subnet', `10.${n}.0.0/24`, '--subnet', `fd00:${n}::/64`];
      expect(host.minict('network', 'create', name, ...subnets).status).toBe(0);
    }
    const routed = (lan: string, n: number) =>
      `${lan},ip=10.${n}.0.2,ip=fd00:${n}::2,gateway=10.${n}.0.254,gateway=fd00:${n}::254`;
    const inside = (lan: string, n: number, ip: number) => `${lan},ip=10.${n}.0.${ip},ip=fd00:${n}::${ip}`;
    const httpd = ['--service', 'httpd -h /var/www'];
    expectCreated(host, 'web1', '--nic', routed('lana', 1));
    expectCreated(host, 'web2', '--nic', routed('lanb', 2), ...httpd);
    expectCreated(host, 'web3', '--nic', inside('lana', 1, 130), ...httpd);
    expectCreated(host, 'both', '--nic', inside('lana', 1, 4), '--nic', inside('lanb', 2, 4), ...httpd);
    expectCreated(host, 'r1', '--nic', inside('lana', 1, 254), '--nic', inside('lanb', 2, 254));
    lab.sh('ip netns exec r1 sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
    expect(host.minict('start', 'web2', 'web3', 'both').status).toBe(0);
    await lab.serves('web2', 'web3', 'both');
    return lab;
  }

  sh(commands: string): void {
    const PATH = `${dirname(MINICT)}:${process.env.PATH}`;
    expect(this.host.run(['sh', '-ec', commands], { PATH })).toMatchObject({ status: 0 });
  }

  why(question: string): Told {
    const { status, stdout, stderr } = this.host.minict('why', ...question.split(' '), '--format', 'json');
    expect(stderr).toBe('');
    const told = JSON.parse(stdout) as Told;
    expect(status).toBe(told.works ? 0 : 1);
    // One failure at most, and it is the last line.
    expect(told.checks.slice(0, -1).map(({ state }) => state)).not.toContain('fail');
    return told;
  }

  expectWorks(question: string): Told {
    const told = this.why(question);
    expect(told.checks.filter(({ state }) => state === 'fail')).toEqual([]);
    expect(told.works).toBe(true);
    return told;
  }

  /** The line that says what stops it. */
  failureOf(question: string): Check | undefined {
    const told = this.why(question);
    expect(told.works).toBe(false);
    return told.checks.at(-1);
  }

  async listens(name: string, port: number): Promise<void> {
    const sockets = () => this.host.run(['ip', 'netns', 'exec', name, 'ss', '-Hltun']).stdout;
    expect(await eventually(() => sockets().includes(`:${port} `))).toBe(true);
  }

  async serves(...names: string[]): Promise<void> {
    for (const name of names) await this.listens(name, 80);
  }

  /** The cause is named, and the very command that is named with it mends the path. */
  async expectMended([, inject, question, cause, where, found]: Fault): Promise<void> {
    this.sh(inject);
    const told = this.why(question);
    expect(told).toMatchObject({ works: false, cause, where });
    expect(told.checks.at(-1)?.found).toMatch(found);
    this.sh(told.fix as string);
    await this.serves('web2', 'web3', ...(cause === 'not-listening' ? [where] : []));
    this.expectWorks(question);
  }

  /** What a mended path may still have of its fault, and the next one is not to find. */
  restore(): void {
    for (const name of ['web1', 'web2', 'web3', 'both', 'r1']) {
      this.sh(
        `ip netns exec ${name} nft flush ruleset; ip -n ${name} neigh flush all; ip -n ${name} route flush cache`,
      );
    }
    this.sh('nft flush ruleset; iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F');
    for (const [name, n, other] of [
      ['web1', 1, 2],
      ['web2', 2, 1],
    ] as const) {
      this.sh(`ip -n ${name} route replace default via 10.${n}.0.254; ip -n ${name} route del 10.${other}.0.0/24 || :
        ip -n ${name} -6 route replace default via fd00:${n}::254`);
    }
  }
}

/** nft's words for a table with one chain, in a container. */
export function nftIn(name: string, family: string, hook: string, rules: string, policy = 'accept'): string {
  const chain = `chain c { type filter hook ${hook} priority 0; policy ${policy}; ${rules}; }`;
  return `ip netns exec ${name} nft 'table ${family} f { ${chain}; }'`;
}

/** One lab for all tests of a file, healthy again after each. What is returned is filled before the first. */
export function useWhyLab(): { readonly lab: WhyLab } {
  const now = {} as { lab: WhyLab };
  beforeAll(async () => {
    now.lab = await WhyLab.create();
  });
  afterEach(() => now.lab.restore());
  afterAll(() => now.lab.host.destroy());
  return now;
}
