/** minict completion: bash asks it for what may stand where Tab was pressed. The script is all that bash keeps of it. */
import { print } from './output.ts';
import type { Define } from './verbs.ts';

/** bash takes : and = for ends of words, and wants what follows the last of them alone. */
const BASH = `# Completion of minict for bash. In ~/.bashrc: source <(minict completion bash)
_minict() {
  local line=\${COMP_LINE:0:COMP_POINT} words word kept= one
  read -ra words <<<"$line"
  [[ $line != *[[:space:]] ]] || words+=('')
  word=\${words[-1]}
  [[ $word != *[:=]* ]] || kept=\${word%"\${word##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r one; do
    COMPREPLY+=("\${one#"$kept"}")
  done < <("$1" completion bash "\${words[@]:1}" 2>/dev/null)
  [[ \${COMPREPLY-} != *[:=] ]] || compopt -o nospace
}
complete -o default -F _minict minict
`;

export const define: Define = (command) => {
  command
    .usage('bash')
    .argument('<shell>')
    .argument('[words...]', 'of a command line, from after minict on: prints what the last one may become')
    .passThroughOptions()
    .action(async (shell: string, words: readonly string[]): Promise<void> => {
      if (shell !== 'bash') {
        const { InvalidInputError } = await import('../errors.ts');
        throw new InvalidInputError(`cannot complete for ${shell}: not known`, { hint: 'minict completion bash' });
      }
      if (words.length === 0) {
        print(BASH);
        return;
      }
      const { complete } = await import('./complete.ts');
      print((await complete(words)).map((word) => `${word}\n`).join(''));
    });
};
