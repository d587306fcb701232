/** The compiled core, as a path that stays true inside a compiled executable. */
import module from "../../build/core.wasm" with { type: "file" };

export { module };
