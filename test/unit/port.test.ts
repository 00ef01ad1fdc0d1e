/** `-p` with docker's words, and the steps of NAT: data in, data out. */
import { describe, expect, test } from 'vitest';
import { type ForwardingFacts, isReliedOn, planForwarding, planIpv6Forwarding } from '../../src/network/forwarding.ts';
import { planPorts } from '../../src/network/nat.ts';
import { nextBatch } from '../../src/runner/batch.ts';
import type { ContainerSpec } from '../../src/spec/container.ts';
import { collide, parsePublish } from '../../src/spec/port.ts';

describe('-p', () => {
  const short = (text: string) =>
    parsePublish(text).map(({ ip, choice, protocol, to }) => {
      const range = choice && (choice.first === choice.last ? choice.first : `${choice.first}-${choice.last}`);
      return `${ip} ${range ?? 'any'} ${to}/${protocol}`;
    });

  test.each([
    ['80', ['127.0.0.1 any 80/tcp']],
    ['80/udp', ['127.0.0.1 any 80/udp']],
    ['8080:80', ['127.0.0.1 8080 80/tcp']],
    ['0:80', ['127.0.0.1 any 80/tcp']],
    [':80', ['127.0.0.1 any 80/tcp']],
    ['0.0.0.0::80', ['0.0.0.0 any 80/tcp']],
    ['192.0.2.1:8080:80/tcp', ['192.0.2.1 8080 80/tcp']],
    ['[2001:DB8::1]:8080:80', ['2001:db8::1 8080 80/tcp']],
    ['[::]::80', [':: any 80/tcp']],
    ['8000-8001:80-81', ['127.0.0.1 8000 80/tcp', '127.0.0.1 8001 81/tcp']],
    ['8000-8009:80', ['127.0.0.1 8000-8009 80/tcp']],
    ['80-81', ['127.0.0.1 any 80/tcp', '127.0.0.1 any 81/tcp']],
  ])('%s', (text, ports) => {
    expect(short(text)).toEqual(ports);
  });

  test.each([
    '',
    ':',
    '::',
    '0',
    '65536',
    '80:',
    'a:80',
    '1.2.3.4:80',
    '[::1]:1:2',
    '[fe80::1:80:80',
    '80/',
    '80/tcp/x',
  ])('%j is refused', (text) => {
    expect(() => parsePublish(text)).toThrow(/^cannot /);
  });
});

test.each([
  ['127.0.0.1', '127.0.0.1', true],
  ['127.0.0.1', '127.0.0.2', false],
  ['0.0.0.0', '127.0.0.2', true],
  ['::', '127.0.0.1', false],
  ['::', '2001:db8::1', true],
])('%s and %s', (a, b, both) => {
  const of = (ip: string) => ({ ip, port: 80, protocol: 'tcp' }) as const;
  expect(collide(of(a), of(b))).toBe(both);
  expect(collide(of(a), { ...of(b), port: 81 })).toBe(false);
  expect(collide(of(a), { ...of(b), protocol: 'udp' })).toBe(false);
});

test('all ports of a container are one transaction', () => {
  const port = { ip: '0.0.0.0', port: 8080, protocol: 'tcp', address: '10.1.0.2', to: 80 } as const;
  const ports = [port, { ...port, ip: '2001:db8::1', address: 'fd00::2' }];
  const steps = planPorts('00c0ffee', { name: 'web1', ports } as unknown as ContainerSpec);
  expect(nextBatch(steps).batch).toMatchObject({
    argv: ['nft', '-f', '-'],
    stdin: `add element inet minict_00c0ffee any4 { tcp . 8080 : 10.1.0.2 . 80 }
add element inet minict_00c0ffee ports6 { 2001:db8::1 . tcp . 8080 : fd00::2 . 80 }
`,
  });
});

describe('forwarding', () => {
  const facts = (values: Readonly<Record<string, string>>): ForwardingFacts => ({
    read: (path) => values[path],
    isOurs: (path) => values[path] === '0',
  });
  const writes = (steps: ReturnType<typeof planForwarding>) =>
    steps.map(({ run, undo }) => {
      const word = run.kind === 'write' ? `${run.path.replace('/proc/sys/net/', '')}=${run.content}` : '';
      return undo === undefined ? word : `${word}, and back`;
    });

  test('is switched on where it is off, and given back', () => {
    const values = { 'ipv4/conf/lan/forwarding': '0', 'ipv4/conf/eth0/forwarding': '1' };
    expect(writes(planForwarding(['lan', 'eth0'], facts(values)))).toEqual(['ipv4/conf/lan/forwarding=1, and back']);
  });

  test('of IPv6, for each interface where the kernel can', () => {
    const values = { 'ipv6/conf/all/force_forwarding': '0', 'ipv6/conf/lan/force_forwarding': '0' };
    expect(writes(planIpv6Forwarding(['lan'], facts(values)))).toEqual(['ipv6/conf/lan/force_forwarding=1, and back']);
  });

  test("of IPv6 by the host's own switch: router advertisements are heard before it is on, and it stays", () => {
    const values = {
      'ipv6/conf/all/forwarding': '0',
      'ipv6/conf/default/accept_ra': '1',
      'ipv6/conf/eth0/accept_ra': '1',
      'ipv6/conf/eth1/accept_ra': '0',
    };
    expect(writes(planIpv6Forwarding(['eth0', 'eth1'], facts(values)))).toEqual([
      'ipv6/conf/default/accept_ra=2',
      'ipv6/conf/eth0/accept_ra=2',
      'ipv6/conf/all/forwarding=1',
    ]);
    expect(planIpv6Forwarding(['eth0'], facts({ ...values, 'ipv6/conf/all/forwarding': '1' }))).toEqual([]);
  });

  test("what the host's own switch has on by now is relied on", () => {
    const [step] = planForwarding(['lan'], facts({ 'ipv4/conf/lan/forwarding': '0' }));
    if (step === undefined) throw new Error('no step');
    expect(isReliedOn(step, facts({ 'ipv4/conf/all/forwarding': '0' }))).toBe(false);
    expect(isReliedOn(step, facts({ 'ipv4/conf/all/forwarding': '1' }))).toBe(true);
  });
});
