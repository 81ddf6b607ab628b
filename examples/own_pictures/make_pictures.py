"""Write scikit-learn's digits as a folder of pictures for each class, 40 of each: pictures/0/000.png …"""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

EACH = 40

digits = load_digits()
counted = dict.fromkeys(range(10), 0)
for image, label in zip(digits.images, digits.target, strict=True):
    if counted[int(label)] < EACH:
        folder = Path("pictures") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype("uint8")).save(folder / f"{counted[int(label)]:03d}.png")
        counted[int(label)] += 1
print(f"{sum(counted.values())} pictures of {len(counted)} classes in pictures/")
