import { byId } from '../live-figures.ts'

byId('portfolio')
