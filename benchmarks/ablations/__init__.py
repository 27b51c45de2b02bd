"""The ablations of a stage: a grid of variants and seeds, its tables, plot and page (docs/ABLATIONS.md).

python -m benchmarks.ablations --data STAGE1 --tokenizer TOKENIZER --evaluation SET ... --output FOLDER
python -m benchmarks.ablations --stage contrastive --start CHECKPOINT --data PAIRS --evaluation SET ... --output FOLDER
"""
