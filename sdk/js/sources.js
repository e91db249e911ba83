// Where things stand in the author's files: what runs is one module that is made of them.

/** A stack with the files and lines that the author knows, as far as `lockgate plugin build` has said which they are. */
export function sources(stack) {
  const told = globalThis.lockgateSources;
  if (!told) return stack.trimEnd();
  // Of each run of lines that stand together: its first line in the module, its file, its first line there. What is of no file
  // is the SDK's, which is in nobody's way here.
  const { files, runs } = JSON.parse(told);
  const frames = stack.trimEnd().split("\n").map((frame) => {
    const [before, after] = frame.split("/target/lockgate/plugin.js:");
    if (!after) return frame;
    const line = parseInt(after, 10);
    const [from, file, first] = runs.findLast(([from]) => from <= line) ?? [];
    return files[file] && `${before}${files[file]}:${first + line - from}${after.endsWith(")") ? ")" : ""}`;
  });
  return frames.filter((frame) => frame).join("\n");
}
