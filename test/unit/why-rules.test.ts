/** Which rule eats a packet: rules as `nft -j` tells them, before and after it was sent. */
import { expect, test } from 'vitest';
import type { BaseChain, Expression, NftRule, Ruleset } from '../../src/host/inside/ruleset.ts';
import type { Packet } from '../../src/why/packet.ts';
import { describeDrop, dropFix } from '../../src/why/rule-text.ts';
import { findDropAt } from '../../src/why/rules.ts';

const base: BaseChain = {
  family: 'inet',
  table: 't',
  name: 'in',
  type: 'filter',
  hook: 'input',
  priority: 0,
  drops: false,
  devs: [],
};
const packet: Packet = {
  protocol: 'tcp',
  family: 4,
  from: '10.0.0.1',
  to: '10.0.0.2',
  port: 80,
  isAnswer: false,
  incoming: 'eth0',
  outgoing: undefined,
};
const is = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const dport = (right: unknown, op?: string) => is({ payload: { protocol: 'tcp', field: 'dport' } }, right, op);
const mark = is({ meta: { key: 'mark' } }, 5);
const state = (right: unknown) => is({ ct: { key: 'state' } }, right, 'in');
const drop = { drop: null };
const accept = { accept: null };
const counted = (packets: number) => ({ counter: { packets, bytes: 0 } });

function rulesOf(chains: Record<string, readonly Expression[][]>, drops = false, set: unknown[] = []): Ruleset {
  let handle = 1;
  const rules = Object.entries(chains).map(([chain, all]): [string, NftRule[]] => [
    `inet t ${chain}`,
    all.map((expr) => {
      handle += 1;
      const { counter } = (expr.find((each) => 'counter' in each) ?? {}) as { counter?: { packets: number } };
      return { family: 'inet', table: 't', chain, handle, expr, packets: counter?.packets };
    }),
  ]);
  return { bases: [{ ...base, drops }], rules: new Map(rules), sets: new Map([['inet t @s', set]]) };
}

const dropIn = (after: Ruleset, before = after, sent: Packet = packet) =>
  findDropAt({ before, after, wasSent: true }, ['ip', 'inet'], 'input', sent);
const handleIn = (after: Ruleset, before?: Ruleset) => dropIn(after, before)?.rule?.handle;

test('a rule counts where all its matches hold', () => {
  expect(handleIn(rulesOf({ in: [[dport(80), drop]] }))).toBe(2);
  expect(handleIn(rulesOf({ in: [[dport(81), drop]] }))).toBeUndefined();
  expect(handleIn(rulesOf({ in: [[dport({ set: [22, { range: [70, 90] }] }), drop]] }))).toBe(2);
  expect(handleIn(rulesOf({ in: [[dport(80, '!='), drop]] }))).toBeUndefined();
  expect(handleIn(rulesOf({ in: [[dport(80), accept], [drop]] }))).toBeUndefined();
  expect(handleIn(rulesOf({ in: [[state(['established', 'related']), accept], [drop]] }))).toBe(3);
  const from = (right: unknown) => is({ payload: { protocol: 'ip', field: 'saddr' } }, right);
  expect(handleIn(rulesOf({ in: [[from({ prefix: { addr: '10.0.0.0', len: 24 } }), drop]] }))).toBe(2);
  expect(handleIn(rulesOf({ in: [[from('@s'), drop]] }, false, ['10.0.0.9', '10.0.0.1']))).toBe(2);
  expect(handleIn(rulesOf({ in: [[from('@s'), drop]] }, false, ['10.0.0.9']))).toBeUndefined();
});

test('what the matches leave open, the counter decides', () => {
  const at = (packets: number) => rulesOf({ in: [[mark, counted(packets), drop]] });
  expect(dropIn(at(7), at(5))).toMatchObject({ isCertain: true, took: 2 });
  expect(dropIn(at(5), at(5))).toBeUndefined();
  expect(dropIn(rulesOf({ in: [[mark, drop]] }))).toMatchObject({ isCertain: false });
  // Nobody knows whether it was accepted before.
  expect(dropIn(rulesOf({ in: [[mark, accept]] }, true))).toMatchObject({ rule: undefined, isCertain: false });
  const accepts = (packets: number) => rulesOf({ in: [[mark, counted(packets), accept]] }, true);
  expect(dropIn(accepts(1), accepts(0))).toBeUndefined();
  expect(dropIn(accepts(1), accepts(1))).toMatchObject({ rule: undefined, isCertain: true });
});

test('jumps come back, gotos do not; a map chooses', () => {
  const jump = (kind: string) => rulesOf({ in: [[{ [kind]: { target: 'x' } }], [drop]], x: [[dport(81), accept]] });
  expect(handleIn(jump('jump'))).toBe(3);
  expect(handleIn(jump('goto'))).toBeUndefined();
  const key = { payload: { protocol: 'tcp', field: 'dport' } };
  const map = (port: number) => ({ vmap: { key, data: { set: [[port, { jump: { target: 'x' } }]] } } });
  expect(handleIn(rulesOf({ in: [[map(80)]], x: [[drop]] }))).toBe(3);
  expect(handleIn(rulesOf({ in: [[map(81)]], x: [[drop]] }))).toBeUndefined();
});

test('an answer is established, and comes from the port', () => {
  const answer = { ...packet, from: '10.0.0.2', to: '10.0.0.1', isAnswer: true };
  const sport = is({ payload: { protocol: 'tcp', field: 'sport' } }, 80);
  expect(dropIn(rulesOf({ in: [[state('established'), accept]] }, true), undefined, answer)).toBeUndefined();
  expect(dropIn(rulesOf({ in: [[sport, drop]] }), undefined, answer)).toMatchObject({ isCertain: true });
});

test('a rule in words, and what lets the packet through', () => {
  const found = dropIn(rulesOf({ in: [[dport(80), counted(3), { reject: null }]] }), rulesOf({ in: [[counted(1)]] }));
  expect(found?.rejects).toBe(true);
  if (found === undefined) throw new Error('no drop');
  expect(describeDrop(found, 'a')).toBe('nft inet t, chain in: tcp dport 80 reject (handle 2, counter +2)');
  const node = { name: 'web', isHost: false } as never;
  expect(dropFix(node, found, 'a', 'b', 'input')).toBe('ip netns exec web nft delete rule inet t in handle 2');
  const policy = { ...found, rule: undefined };
  expect(dropFix(node, policy, '10.0.0.1', '10.0.0.2', 'input')).toBe(
    'ip netns exec web nft insert rule inet t in ip saddr 10.0.0.1 ip daddr 10.0.0.2 accept',
  );
});
