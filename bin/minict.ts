/** Entry. Everything that goes wrong is caught here and becomes one line, a hint and an exit status. */
import { main } from '../src/cli/main.ts';

main(process.argv.slice(2));
