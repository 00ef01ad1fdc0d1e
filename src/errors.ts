/**
 * Every way minict itself can fail. A message has the form `cannot <do X> <object>: <cause>`; the hint is a command
 * or a sentence that helps. Exit status 125 is minict's own failure (docker's and podman's convention).
 */
export class MinictError extends Error {
  readonly hint: string | undefined;
  /** What a program of the user's said, in lines. */
  readonly details: string | undefined;
  readonly exitCode: number;

  constructor(message: string, options: { hint?: string; details?: string; cause?: unknown; exitCode?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
    this.details = options.details;
    this.exitCode = options.exitCode ?? 125;
  }
}

/** A value from outside (argument, file, tool output) that is not what it has to be. */
export class InvalidInputError extends MinictError {}

/** A container, image or network that is not there. */
export class NotFoundError extends MinictError {}

/** Something of that name or address is there already, or is in use. */
export class ConflictError extends MinictError {}

/** A network's address, or all of them, that others have. */
export class AddressTakenError extends ConflictError {
  readonly network: string;

  constructor(network: string, message: string, options: { hint?: string } = {}) {
    super(message, options);
    this.network = network;
  }
}

/** A state file that is damaged, or written by a newer minict; it is never overwritten. */
export class StateError extends MinictError {}

/** One that is no JSON, or not what it has to be. */
export class DamagedError extends StateError {}

/** A host command that failed, or a host that lacks something. */
export class HostError extends MinictError {}

/** A step of a plan that failed; what was done before it has been undone. */
export class StepError extends MinictError {
  readonly stepId: string;
  /** Undo failures, each in one line. */
  readonly leftovers: readonly string[];

  constructor(stepId: string, message: string, leftovers: readonly string[] = []) {
    super(message, leftovers.length > 0 ? { hint: `left over: ${leftovers.join('; ')}` } : {});
    this.stepId = stepId;
    this.leftovers = leftovers;
  }
}

/** A signal to end came, and what was done has been undone. The exit status is a shell's for that signal. */
export class InterruptedError extends MinictError {
  constructor(message: string, signal: number, leftovers: readonly string[]) {
    const hint = leftovers.length > 0 ? { hint: `left over: ${leftovers.join('; ')}` } : {};
    super(message, { ...hint, exitCode: 128 + signal });
  }
}

/** What a system call on a path failed with, without the path, which the message has: `no such file or directory`. */
export function systemCause(error: unknown): string {
  return (error as Error).message.replace(/^E[A-Z0-9]+: (.*), \w+( '.*)?$/s, '$1');
}

/** First line of what a tool said on stderr, for the cause part of a message. */
export function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}
