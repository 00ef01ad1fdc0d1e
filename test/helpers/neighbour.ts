/** Another machine beside the throwaway host: a network namespace at the other end of a cable. */
import { expect } from 'vitest';
import { eventually, type Host, type Result } from './host.ts';

export interface Neighbour {
  /** Runs a program there. */
  readonly run: (argv: readonly string[]) => Result;
  readonly unplug: () => Promise<void>;
}

export interface Cable {
  /** Name of the host's end. */
  readonly link: string;
  /** With their lengths. */
  readonly here: readonly string[];
  readonly there: readonly string[];
}

/** Addresses of IPv6 are there at once. */
const addressWords = (address: string) => [address, ...(address.includes(':') ? ['nodad'] : [])];

export async function plugIn(host: Host, { link, here, there }: Cable): Promise<Neighbour> {
  const machine = host.spawn(['unshare', '--net', 'sleep', 'infinity']);
  const namespace = (pid: number) => host.run(['readlink', `/proc/${pid}/ns/net`]).stdout;
  const own = namespace(process.pid);
  const hosts = host.run(['readlink', '/proc/self/ns/net']).stdout;
  expect(await eventually(() => ![own, hosts].includes(namespace(machine.pid)))).toBe(true);
  const run = (argv: readonly string[]) => host.run(['nsenter', '-t', String(machine.pid), '-n', ...argv]);
  const ok = (result: Result) => expect(result).toMatchObject({ status: 0, stderr: '' });
  const far = `${link}x`;
  ok(host.run(['ip', 'link', 'add', 'name', link, 'type', 'veth', 'peer', 'name', far]));
  ok(host.run(['ip', 'link', 'set', far, 'netns', String(machine.pid)]));
  for (const address of here) ok(host.run(['ip', 'addr', 'add', ...addressWords(address), 'dev', link]));
  for (const address of there) ok(run(['ip', 'addr', 'add', ...addressWords(address), 'dev', far]));
  ok(host.run(['ip', 'link', 'set', link, 'up']));
  ok(run(['ip', 'link', 'set', 'lo', 'up']));
  ok(run(['ip', 'link', 'set', far, 'up']));
  return {
    run,
    unplug: async () => {
      machine.kill();
      await machine.exited;
      expect(await host.linksGone(new RegExp(` ${link}@`))).toBe(true);
    },
  };
}

/** What a page of a web server says; what curl says where there is none. */
export function page(run: Neighbour['run'], url: string): string {
  const { status, stdout } = run(['curl', '-sg', '--max-time', '3', url]);
  return status === 0 ? stdout.trim() : `curl: ${status}`;
}

const ECHO = `import socket,sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
`;

/** Sends back what comes to an UDP port of a container, with who sent it. */
export function echoUdp(host: Host, container: string, port: number) {
  const script = `${ECHO}s.bind((sys.argv[1], int(sys.argv[2])))
print('ready', flush=True)
while True:
    data, peer = s.recvfrom(100)
    s.sendto(data + b' from ' + peer[0].encode(), peer)`;
  return host.spawn(['ip', 'netns', 'exec', container, 'python3', '-uc', script, '0.0.0.0', String(port)]);
}

export function askUdp(run: Neighbour['run'], address: string, port: number): string {
  const script = `${ECHO}s.settimeout(3)
s.sendto(b'hello', (sys.argv[1], int(sys.argv[2])))
print(s.recv(100).decode())`;
  return run(['python3', '-c', script, address, String(port)]).stdout.trim();
}
