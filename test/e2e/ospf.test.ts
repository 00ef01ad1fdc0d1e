/**
 * Three routers with FRR's OSPF and BGP in them, as examples/ospf.sh makes them: routes in the kernel, and another way when a
 * cable is cut. The throwaway host has no network: in place of mmdebstrap stands one that unpacks what that made
 * (bin/prepare.sh) of the same packages.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';

const UNPACK = `#!/bin/sh
for word; do case $word in --include=*) packages=\${word#*=};; esac; done
exec tar xf "/usr/local/lib/minict/$packages.tar" -C "$word" --exclude='./dev/*'
`;

let host: Host;
let tools: string;
const example = (...words: string[]) =>
  host.run(['sh', resolve('examples/ospf.sh'), ...words], { MINICT, PATH: `${tools}:${process.env.PATH}` });
const does = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const pings = (to: string) => host.minict('exec', 'r1', 'ping', '-c1', '-W5', to).status === 0;

interface Route {
  readonly dst: string;
  readonly protocol: string;
  readonly dev?: string;
}
const route = (name: string, to: string) =>
  (readIp(host, '-n', name, 'route', 'show', to) as unknown as Route[])
    .map(({ protocol, dev }) => `${protocol} ${dev}`)
    .join();

beforeAll(async () => {
  host = await Host.create();
  tools = join(host.dir, 'tools');
  mkdirSync(tools);
  writeFileSync(join(tools, 'mmdebstrap'), UNPACK);
  chmodSync(join(tools, 'mmdebstrap'), 0o755);
});
afterAll(() => host.destroy());

test('OSPF and BGP meet, and routes of both are in the kernel', async () => {
  expect(example()).toMatchObject({ status: 0, stderr: '' });
  expect(await eventually(() => route('r1', '10.255.0.3') === 'ospf to-r3')).toBe(true);
  expect(await eventually(() => route('r1', '198.51.100.3') === 'bgp to-r3')).toBe(true);
  expect(await eventually(() => route('r3', '10.255.0.1') === 'ospf to-r1')).toBe(true);
  expect(await eventually(() => route('r3', '198.51.100.1') === 'bgp to-r1')).toBe(true);
  expect(pings('10.255.0.3')).toBe(true);
  expect(pings('198.51.100.3')).toBe(true);
  const trace = host.minict('exec', 'r1', 'traceroute', '-n', '10.255.0.3');
  expect(trace.stdout).toMatch(/^ 1 {2}10\.255\.0\.3 /m);
});

test('a cable that is cut leaves the way over the third one, until it is there again', async () => {
  does('link', 'down', 'r1:to-r3');
  expect(await eventually(() => route('r1', '10.255.0.3') === 'ospf to-r2')).toBe(true);
  expect(await eventually(() => route('r1', '198.51.100.3') === 'bgp to-r2')).toBe(true);
  expect(await eventually(() => route('r3', '10.255.0.1') === 'ospf to-r2')).toBe(true);
  expect(pings('10.255.0.3')).toBe(true);
  does('link', 'up', 'r1:to-r3');
  expect(await eventually(() => route('r1', '10.255.0.3') === 'ospf to-r3')).toBe(true);
});

test('the example takes all of it away again', () => {
  expect(example('--clean')).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('ps', '-a', '-q').stdout).toBe('');
  expect(readIp(host, 'link').map(({ ifname }) => ifname)).toEqual(['lo']);
});
