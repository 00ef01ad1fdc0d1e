/** Headers of tar members: what is written is read again, and by GNU tar. */
import { expect, test } from 'vitest';
import { memberHeader, paddingOf, parseFileHeader } from '../../src/image/tar-header.ts';

const LARGE = 8 ** 11;

test.each([0, 1, 511, 512, LARGE - 1, LARGE, 2 ** 47 + 1])('%d bytes', (size) => {
  const header = memberHeader('layers/a.tar', '0', size);
  expect(parseFileHeader(header)).toEqual({ name: 'layers/a.tar', size });
  // Of a stream that ends there it lists the one member, and complains.
  const { stdout } = Bun.spawnSync(['tar', '--list', '--verbose', '--file=-'], { stdin: header });
  expect(stdout.toString().trim().split(/\s+/)[2]).toBe(String(size));
});

test('a padding fills the last block', () => {
  expect([0, 1, 511, 512, 513].map(paddingOf)).toEqual([0, 511, 1, 0, 511]);
});

test('whatever is no plain file of that form is none', () => {
  const header = memberHeader('a', '0', 3);
  for (const [at, byte] of [
    [0, 98],
    [124, 57],
    [156, 50],
    [257, 0],
    [345, 97],
  ] as const) {
    const bent = Buffer.from(header);
    bent[at] = byte;
    expect(parseFileHeader(bent), String(at)).toBeUndefined();
  }
  expect(parseFileHeader(memberHeader('a', '2', 0))).toBeUndefined();
  expect(parseFileHeader(Buffer.alloc(512))).toBeUndefined();
});
