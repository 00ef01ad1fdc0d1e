/** Tar archives header by header: what GNU tar would not write. */

export interface Member {
  readonly name: string;
  readonly flag?: string;
  readonly target?: string;
  readonly content?: string;
}

const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;

export function member({ name, flag = '0', target = '', content = '' }: Member): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, 'latin1');
  header.write(octal(flag === '5' ? 0o755 : 0o644, 8) + octal(0, 8) + octal(0, 8), 100, 'latin1');
  header.write(octal(content.length, 12) + octal(1, 12) + ' '.repeat(8) + flag, 124, 'latin1');
  header.write(target, 157, 100, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
    'latin1',
  );
  return Buffer.concat([header, Buffer.from(content.padEnd(Math.ceil(content.length / 512) * 512, '\0'), 'latin1')]);
}

export function archive(...members: Member[]): Buffer {
  return Buffer.concat([...members.map(member), Buffer.alloc(1024)]);
}

export function pax(key: string, value: string, flag = 'x'): Member {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return { name: 'pax', flag, content: `${length}${rest}` };
}
