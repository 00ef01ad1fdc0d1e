/** A program of the throwaway host on a terminal (pty) of its own, and somebody who types. */
import { eventually, type Host } from './host.ts';

export class Terminal {
  private readonly child: ReturnType<typeof Bun.spawn>;
  private unread = '';
  /** Everything that it has shown. */
  all = '';

  /** 80 columns, 24 rows. */
  constructor(host: Host, argv: readonly string[]) {
    this.child = Bun.spawn(host.inside(argv), {
      env: { ...host.env, TERM: 'xterm' },
      terminal: {
        data: (_, data) => {
          const text = new TextDecoder().decode(data);
          this.all += text;
          this.unread += text;
        },
      },
    });
  }

  get pid(): number {
    return this.child.pid;
  }

  type(text: string): void {
    this.child.terminal?.write(text);
  }

  resize(cols: number, rows: number): void {
    this.child.terminal?.resize(cols, rows);
  }

  /** Waits until `pattern` shows, after all that was waited for before, and returns it. */
  async shows(pattern: RegExp): Promise<string> {
    await eventually(() => pattern.test(this.unread));
    const match = pattern.exec(this.unread);
    if (match === null) throw new Error(`the terminal does not show ${pattern}, but ${JSON.stringify(this.unread)}`);
    this.unread = this.unread.slice(match.index + match[0].length);
    return match[0];
  }

  status(): Promise<number> {
    return this.child.exited;
  }

  /** Hangs up. */
  close(): void {
    this.child.terminal?.close();
  }
}
