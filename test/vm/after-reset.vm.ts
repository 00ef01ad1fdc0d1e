/** After the machine was reset, with nothing taken down and a create half-way. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { keptRows, minict, rows, run, unitIs } from './machine.ts';

test('the one with a policy is up again, with its address and files', () => {
  expect(unitIs('minict@web.service', 'Result')).toBe('success');
  expect(rows().web).toMatchObject({ state: 'running', address: keptRows().web?.address });
  expect(minict('exec', 'web', 'cat', '/root/file').stdout).toBe('kept\n');
  expect(minict('start', 'plain')).toEqual({ status: 0, stdout: 'plain\n', stderr: '' });
});

test('what a create was at is there whole, or not at all', () => {
  const isThere = rows().cut !== undefined;
  expect(minict(isThere ? 'start' : 'create', 'cut')).toEqual({ status: 0, stdout: 'cut\n', stderr: '' });
  expect(minict('exec', 'cut', 'ping', '-c', '1', 'web').status).toBe(0);
  expect(Object.values(rows()).map(({ state }) => state)).not.toContain('broken');
});

test('all of it goes', () => {
  expect(minict('system', 'remove-units').stdout).toBe('minict@shy.service\nminict@web.service\n');
  expect(minict('rm', '-f', ...Object.keys(rows()))).toMatchObject({ status: 0, stderr: '' });
  expect(minict('system', 'prune').status).toBe(0);
  expect(readdirSync('/etc/systemd/system').filter((name) => name.startsWith('minict@'))).toEqual([]);
  expect(run('ip', '-o', 'link').stdout.trim().split('\n')).toEqual([expect.stringMatching(/^1: lo: /)]);
  expect(run('nft', 'list', 'ruleset').stdout).toBe('');
  expect(run('find', '/sys/fs/cgroup', '-maxdepth', '1', '-name', 'minict-*').stdout).toBe('');
  expect(run('systemctl', 'list-units', '--failed', '--plain', '--no-legend', 'minict@*').stdout).toBe('');
});
