"""Tell spoken words apart, in synthesised speech: a dense network, then a 90 % sparse one, then a small fast file.

    python examples/speech_commands.py

No person was recorded: the program espeak-ng says the words, each in many voices, and in others for the test than for
the training. People differ by far more than these voices do: a network for people is trained on recordings of people.
"""

import argparse
import shutil
import subprocess
from multiprocessing.pool import ThreadPool

import numpy as np
import torch
from torch import nn

import sparbor
from sparbor.timing import sample, summarize

OUT = "speech.safetensors"
ACCENTS = "en-gb", "en-gb-scotland", "en-us", "en-029"  # espeak-ng's, and so are the names of the voices
TRAINING = "m1 m2 m3 m4 m5 f1 f2 f3 klatt klatt2 croak Andrea Annie John Lee"
TEST = "m6 m7 m8 f4 f5 klatt4 Linda Paul"
RATE, SAMPLES, LATER = 22050, 26880, 4830  # samples a second, samples of a recording, by how many a word may be late


def speak(words: list[str], voices: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Recordings ``(recordings, SAMPLES)`` of each word in each voice and accent, and the numbers of their words."""
    if not words or not shutil.which("espeak-ng"):
        raise SystemExit("there must be words, and the program espeak-ng to speak them: apt-get install espeak-ng")
    draw, commands = np.random.default_rng(0), []
    for voice in [f"{accent}+{voice}" for accent in ACCENTS for voice in voices.split()]:
        how = [f"-v{voice}", f"-s{draw.integers(120, 200)}", f"-p{draw.integers(20, 80)}"]  # voice, speed and pitch
        commands += [["espeak-ng", "--stdout", *how, "--", word] for word in words]
    sounds = torch.zeros(len(commands), SAMPLES)
    with ThreadPool(4) as pool:
        for row, done in enumerate(pool.imap(lambda command: subprocess.run(command, capture_output=True), commands)):
            spoken = np.frombuffer(done.stdout[44:], np.int16)[: SAMPLES - LATER]  # after the head of a WAV file
            if not spoken.any():
                raise SystemExit(f"nothing is heard of {' '.join(commands[row])}")
            sounds[row, : len(spoken)] = torch.from_numpy(spoken / 65536)
    return sounds, torch.arange(len(words)).repeat(len(commands) // len(words))


def features(sounds: torch.Tensor) -> torch.Tensor:
    """Log-mel spectrograms ``(recordings, 1, 32, 106)``: how strong 32 bands of frequencies are, every 12 ms."""
    sounds = torch.stack([sound.roll(int(torch.randint(LATER, ()))) for sound in sounds])
    sounds += torch.randn_like(sounds) * 0.03 ** (1 + torch.rand(len(sounds), 1))  # now less noise, now more
    edges = 700 * torch.linspace(0.08, 2.52, 34).expm1().unsqueeze(1)  # from 60 to 8000 hertz, evenly on the mel scale
    low, middle, high, hertz = edges[:-2], edges[1:-1], edges[2:], torch.linspace(0, RATE / 2, 257)
    bands = torch.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)).clamp(min=0)
    power = torch.stft(sounds, 512, 256, window=torch.hann_window(512), return_complex=True).abs().square()
    return nn.functional.layer_norm((bands @ power + 1e-4).log().unsqueeze(1), (1, 32, 106))


def train(recipe: sparbor.Recipe | None, sounds: torch.Tensor, labels: torch.Tensor, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    sizes = (1, 32, 2), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)  # inputs, outputs, stride
    layers = [nn.Sequential(nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.ReLU()) for i, o, s in sizes]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, int(labels.max()) + 1))
    optimizer, steps = torch.optim.AdamW(model.parameters()), epochs * len(labels.split(32))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    if recipe:
        print(sparbor.perforate(model, optimizer, recipe, total_steps=steps))
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(32):
            nn.functional.cross_entropy(model(features(sounds[rows])), labels[rows]).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", default="yes no up down left right on off stop go", help="which to tell apart")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    (sounds, labels), (x, y) = (speak(options.words.split(), voices) for voices in (TRAINING, TEST))

    dense = train(None, sounds, labels, options.epochs)
    sparse = train(sparbor.Recipe(0.9, pattern=sparbor.Quads()), sounds, labels, options.epochs)

    x = features(x)
    runtime = sparbor.deploy(sparse, x[:1], weights="int8", calibration=[features(sounds[::9])])
    runtime.save(OUT)

    torch.set_num_threads(1)
    for name, model, word in ("dense, PyTorch", dense, x[:1]), (f"90 % sparse, {OUT}", runtime, x[:1].numpy()):
        with torch.inference_mode():
            right = model(x).argmax(1) == y
            latency = summarize(sample(lambda: model(word), 500))  # noqa: B023
        print(f"{name}: accuracy {right.float().mean():.2%}, {latency.median_us:.0f} us a word, features aside")


if __name__ == "__main__":
    main()
