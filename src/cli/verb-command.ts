/**
 * What a verb takes, in commander's words. A plain command line is read by plain-command.ts; of all others, and for help,
 * commander-program.ts makes commander's own commands.
 */

/** `before` is what an earlier one, or the default, came to. */
export type Parse = (value: string, before: never) => unknown;

export interface VerbCommand {
  name(): string;
  description(text: string): this;
  usage(text: string): this;
  addHelpText(position: 'after', text: string): this;
  /** The heading in help over the options that follow: `Limits:`. */
  optionsGroup(heading: string): this;
  /** `<name>`, `[name]`, and as the last one `<name...>` or `[name...]`. */
  argument(name: string, description?: string): this;
  /** Sets the attribute of its long name: `cpusetCpus` for `--cpuset-cpus`. `--no-…` makes it false, from true. */
  option(flags: string, description: string, parse?: Parse, fallback?: unknown): this;
  option(flags: string, description: string, fallback?: string): this;
  requiredOption(flags: string, description: string): this;
  /** One that may be given several times: a list, of none by default. */
  repeatable(flags: string, description: string): this;
  /** One whose value is one of a few. */
  choice(flags: string, description: string, choices: readonly string[], fallback?: string): this;
  /** From the first word of CMD, the last operand, on all is CMD's, as with docker; options stand on either side of NAME. */
  endOptionsAtCommand(): this;
  /** From the first operand on there are no more options. */
  passThroughOptions(): this;
  /** Gets the operands, a list for the last one where it ends in dots, and then the options. */
  // biome-ignore lint/suspicious/noExplicitAny: each verb names its own
  action(run: (...operandsAndOptions: any[]) => void | Promise<void>): this;
  /** A verb of this group: `connect <network> <container>`. The default one is meant where no verb is named. */
  command(nameAndArguments: string, options?: { readonly isDefault?: boolean }): VerbCommand;
  alias(name: string): this;
  /** Called with that verb of this group that the command line names, to define it. */
  lazily(define: (verb: VerbCommand) => Promise<void>): this;
}
